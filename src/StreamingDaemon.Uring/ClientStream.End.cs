using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Uring;

// How a producer learns how its stream ended: from the stream itself, without a task beside it.
public sealed partial class ClientStream : IValueTaskSource<ClientEnd>
{
    private ManualResetValueTaskSourceCore<ClientEnd> _ended;
    private ClientEnd _end;
    private bool _hasEnded;

    /// <summary>Completes when the loop is done with the stream: it sent the end of stream, or dropped the
    /// client. Await it once (<see cref="ValueTask{TResult}"/>); continuations run on the thread
    /// pool.</summary>
    public ValueTask<ClientEnd> Ended => new(this, _ended.Version);

    /// <summary>The loop is done with this stream. May be called more than once.</summary>
    internal void OnEnded(ClientEnd end)
    {
        if (Interlocked.Exchange(ref _hasEnded, true))
            return;
        _end = end;
        _loop.AddEnd(this);
    }

    /// <summary>Completes <see cref="Ended"/>, and runs what awaits it. Once, after <see cref="OnEnded"/>, on
    /// the thread pool.</summary>
    internal void TellEnd() => _ended.SetResult(_end);

    ClientEnd IValueTaskSource<ClientEnd>.GetResult(short token) => _ended.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<ClientEnd>.GetStatus(short token) => _ended.GetStatus(token);

    void IValueTaskSource<ClientEnd>.OnCompleted(Action<object?> continuation, object? state, short token,
        ValueTaskSourceOnCompletedFlags flags) => _ended.OnCompleted(continuation, state, token, flags);
}
