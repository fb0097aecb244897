using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Loop;

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

/// <summary>Where one handoff is received: a message header, room for descriptors, and the data.</summary>
internal unsafe struct HandoffMemory(byte* pointer, int capacity)
{
    /// <summary>The first page holds what the kernel is told; the data starts behind it.</summary>
    private const int HeaderBytes = 4096;
    private const int VectorOffset = 64;
    private const int ControlOffset = 128;

    // CMSG_LEN of one descriptor. The kernel installs no more of them than fit, and drops the others.
    private const int ControlBytes = 20;

    public readonly byte* Pointer = pointer;

    /// <summary>Bytes of data that it holds.</summary>
    public readonly int Capacity = capacity;

    public static int BytesFor(int maxHandoffBytes) => HeaderBytes + ((maxHandoffBytes + 1 + 4095) & ~4095);

    public readonly byte* Data => Pointer + HeaderBytes;

    /// <summary>Readies the header to receive at most <paramref name="room"/> bytes at an offset.</summary>
    /// <param name="offset">Bytes that are here already.</param>
    /// <param name="room">Bytes more.</param>
    /// <param name="takesDescriptor">There is room for a descriptor too.</param>
    public readonly MessageHeader* Prepare(int offset, int room, bool takesDescriptor)
    {
        var vector = (IoVector*)(Pointer + VectorOffset);
        *vector = new IoVector { Base = Data + offset, Length = (nuint)room };
        var header = (MessageHeader*)Pointer;
        *header = new MessageHeader
        {
            Vectors = vector,
            VectorCount = 1,
            Control = Pointer + ControlOffset,
            ControlLength = takesDescriptor ? (nuint)ControlBytes : 0,
        };
        return header;
    }

    public readonly int ReceivedFlags => ((MessageHeader*)Pointer)->Flags;

    /// <summary>There was no room for a descriptor that came with the last message.</summary>
    public readonly bool IsCut => (ReceivedFlags & SocketConstants.MsgCTrunc) != 0;

    /// <summary>One came with the last message, and had room.</summary>
    public readonly bool HasDescriptor => ((MessageHeader*)Pointer)->ControlLength >= ControlBytes;

    /// <summary>The descriptor that came with the last message.</summary>
    /// <param name="isClient">The peer sent it; else the kernel added it (SCM_PIDFD).</param>
    /// <returns>-1 if none came.</returns>
    public readonly int TakeDescriptor(out bool isClient)
    {
        isClient = false;
        var header = (MessageHeader*)Pointer;
        var control = (ControlHeader*)header->Control;
        if (!HasDescriptor || control->Length < ControlBytes
            || control->Level != SocketConstants.SolSocket
            || control->Type is not (SocketConstants.ScmRights or SocketConstants.ScmPidFd))
        {
            return -1;
        }

        isClient = control->Type == SocketConstants.ScmRights;
        return *(int*)(control + 1);
    }
}
