using System.Diagnostics;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Handoffs by age, the oldest first: in and out in O(1), without an allocation. Loop-owned; a handoff is in
/// it at most once, and leaves it before its slot is freed.
/// </summary>
internal sealed class IdleHandoffList
{
    private HandoffConnection? _newest;

    public HandoffConnection? Oldest { get; private set; }

    public int Count { get; private set; }

    public void Add(HandoffConnection handoff)
    {
        Debug.Assert(!handoff.IsListed, "a handoff was listed twice");
        handoff.IsListed = true;
        handoff.Older = _newest;
        if (_newest is null)
            Oldest = handoff;
        else
            _newest.Newer = handoff;
        _newest = handoff;
        Count++;
    }

    /// <summary>Takes it out, if it is in.</summary>
    public void Remove(HandoffConnection handoff)
    {
        if (!handoff.IsListed)
            return;
        handoff.IsListed = false;
        if (handoff.Older is null)
            Oldest = handoff.Newer;
        else
            handoff.Older.Newer = handoff.Newer;
        if (handoff.Newer is null)
            _newest = handoff.Older;
        else
            handoff.Newer.Older = handoff.Older;
        handoff.Older = handoff.Newer = null;
        Count--;
    }
}
