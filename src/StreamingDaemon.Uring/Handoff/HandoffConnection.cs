using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// One connection of the Apache module, from accept until its message is here. Loop-owned. At most one
/// receive is in flight; the memory goes back only after its completion.
/// </summary>
internal sealed unsafe class HandoffConnection(int index) : LoopTimer
{
    public readonly int Index = index;
    public uint Generation;
    public int Fd = -1;
    public bool IsReceiving;

    /// <summary>Ended while a receive was in flight: waits for its completion.</summary>
    public bool IsClosing;

    /// <summary>Its time is up: what is here already counts, and nothing more is waited for.</summary>
    public bool IsExpired;

    /// <summary>Shut down for reading, after a look that found nothing: what its peer sends is
    /// refused.</summary>
    public bool RefusesMore;

    /// <summary>Asked for again after our table was full or memory short, as the one that shows whether it
    /// still is: that is only looked at, and not waited for.</summary>
    public bool IsProbe;
    public HandoffMemory Memory;
    public int Received;

    /// <summary>The client's descriptor, once it came.</summary>
    public int ClientFd = -1;
    public bool IsTruncated;

    /// <summary>What came was only looked at.</summary>
    public bool HasUnreadMessage;

    /// <summary>A stream that is only looked at to its end (SO_PEEK_OFF): reading it would release surplus
    /// descriptors on the loop's thread.</summary>
    public bool OnlyLooks;
    public bool DescriptorsTruncated;

    /// <summary>More than one descriptor came.</summary>
    public bool HasSurplus;

    /// <summary>How often its descriptor was cut off.</summary>
    public int TimesCut;
    public JsonBoundary Boundary;
    public long AcceptedTimestamp;

    /// <summary>Since when its peer is waited for.</summary>
    public long AskedMs;

    // The links of the IdleHandoffList.
    public HandoffConnection? Older;
    public HandoffConnection? Newer;
    public bool IsListed;
}
