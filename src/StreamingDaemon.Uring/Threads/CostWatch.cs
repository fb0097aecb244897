using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>What a thread's calls cost.</summary>
internal enum CallCost
{
    /// <summary>Nothing to speak of, or it is not known yet.</summary>
    Usual,

    /// <summary>They return, but each computes for long.</summary>
    Calls,

    /// <summary>One computes and does not return.</summary>
    OneCall,
}

/// <summary>
/// Detects calls that compute for milliseconds, from several looks at their number and at the time that the
/// thread has run. A send that waits for nothing can do so: in a network namespace that somebody made, each
/// packet may pass thousands of filters, and the thread that sends it runs them.
/// </summary>
internal sealed class CostWatch
{
    /// <summary>As a hang's. The first only reads the clock.</summary>
    private const int LooksUntilCostly = 3;

    /// <summary>More calls between two looks cannot cost that much. The clock is not even read.</summary>
    private const int FewCalls = 40;

    private long _call;
    private long _first;
    private long _ranNs;
    private int _looks;

    /// <param name="call">Odd while a call is under way; each call has its own number.</param>
    /// <param name="threadId">The kernel's number of the thread that makes it.</param>
    public CallCost Look(long call, int threadId)
    {
        // Those since the last look, and the one that is under way.
        var calls = ((call - _call) / 2) + 1;
        _call = call;
        if ((call & 1) == 0 || calls > FewCalls)
        {
            _looks = 0;
            return CallCost.Usual;
        }

        // Time on a core, not time: a thread that waits for a core computes nothing.
        var ranNs = ThreadTime.Of(threadId);
        var isCostly = _looks > 0 && ranNs - _ranNs >= NetworkCost.CostlyNs * calls;
        _ranNs = ranNs;
        if (!isCostly)
            (_looks, _first) = (0, call);
        return ++_looks < LooksUntilCostly ? CallCost.Usual
            : call == _first ? CallCost.OneCall : CallCost.Calls;
    }
}
