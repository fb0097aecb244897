using System.Runtime.ExceptionServices;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>Opens a listener on the thread of its path. If the file system does not answer, the start gives
/// it up; what it opens later is undone.</summary>
internal sealed class PathOpening(string path, Func<HandoffListener> open)
{
    /// <summary>Longest wait for one call: a start says within two seconds what is wrong.</summary>
    public const int PatienceMs = 1_500;

    private readonly Lock _gate = new();
    private HandoffListener? _opened;
    private ExceptionDispatchInfo? _failure;
    private bool _isGivenUp;

    /// <summary>What to say of a file system that does not answer.</summary>
    public static string Silence(string path) =>
        $"{path}: its file system did not answer within 1.5 s, as with a dead NFS or FUSE server. Fix it, "
        + "or choose another path with --socket";

    /// <exception cref="HandoffServerException">The path is unusable, or its file system does not answer.
    /// </exception>
    public HandoffListener Run(PathThread paths)
    {
        var isDone = paths.TryRun(Open, PatienceMs);
        lock (_gate)
        {
            _isGivenUp = !isDone && _opened is null && _failure is null;
            if (_isGivenUp)
                throw new HandoffServerException(Silence(path), Interop.Errno.TimedOut);
            _failure?.Throw();
            return _opened!;
        }
    }

    private void Open()
    {
        HandoffListener? opened = null;
        ExceptionDispatchInfo? failure = null;
        try
        {
            opened = open();
        }
        catch (Exception e)
        {
            failure = ExceptionDispatchInfo.Capture(e);
        }

        lock (_gate)
        {
            if (!_isGivenUp)
            {
                (_opened, _failure) = (opened, failure);
                return;
            }
        }

        opened?.Unlink(HandoffListener.LastPatienceMs);
        opened?.Dispose();
    }
}
