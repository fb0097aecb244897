using StreamingDaemon.Uring.Loop;

namespace StreamingDaemon.Uring;

/// <summary>Whether the loops have turned since the check began. One thread at a time.</summary>
public sealed class TurnCheck
{
    private readonly List<(EventLoop Loop, long Turns)> _waitingFor;
    private readonly Task _completion;
    private readonly bool _none;

    internal TurnCheck(EventLoop[] loops, Task completion)
    {
        _completion = completion;
        _none = loops.Length == 0 || completion.IsCompleted;
        _waitingFor = [.. loops.Select(loop => (loop, loop.Statistics.Turns))];
    }

    /// <summary>Wakes the loops that have not turned yet.</summary>
    /// <returns>True if each has turned, or is done; false if all have ended; null if it is too early to
    /// say.</returns>
    public bool? Look()
    {
        if (_none)
            return false;
        foreach (var (loop, _) in _waitingFor)
            loop.Wake();
        _waitingFor.RemoveAll(w => w.Loop.Statistics.Turns != w.Turns || w.Loop.RanToEnd);
        return _waitingFor.Count == 0 ? true : _completion.IsCompleted ? false : null;
    }
}
