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
    public bool DescriptorsTruncated;

    /// <summary>How often its descriptor was cut off.</summary>
    public int TimesCut;
    public JsonBoundary Boundary;
    public long AcceptedTimestamp;

    /// <summary>Since when its peer is waited for.</summary>
    public long AskedMs;

    // The links of the HandoffAgeList.
    public HandoffConnection? Older;
    public HandoffConnection? Newer;
    public bool IsListed;
}

/// <summary>Where one handoff is received: a message header, room for descriptors, and the data.</summary>
internal unsafe struct HandoffMemory(byte* pointer)
{
    /// <summary>The first page holds what the kernel is told; the data starts behind it.</summary>
    private const int HeaderBytes = 4096;
    private const int VectorOffset = 64;
    private const int ControlOffset = 128;

    // CMSG_SPACE of SCM_MAX_FD descriptors: 16 + 253 * 4, aligned to 8.
    private const int ControlBytes = 1032;

    public readonly byte* Pointer = pointer;

    public static int BytesFor(int maxHandoffBytes) => HeaderBytes + ((maxHandoffBytes + 1 + 4095) & ~4095);

    public readonly byte* Data => Pointer + HeaderBytes;

    /// <summary>Readies the header to receive at most <paramref name="room"/> bytes at an offset.</summary>
    public readonly MessageHeader* Prepare(int offset, int room)
    {
        var vector = (IoVector*)(Pointer + VectorOffset);
        *vector = new IoVector { Base = Data + offset, Length = (nuint)room };
        var header = (MessageHeader*)Pointer;
        *header = new MessageHeader
        {
            Vectors = vector,
            VectorCount = 1,
            Control = Pointer + ControlOffset,
            ControlLength = ControlBytes,
        };
        return header;
    }

    public readonly int ReceivedFlags => ((MessageHeader*)Pointer)->Flags;

    /// <summary>Copies the descriptors that came with the last message.</summary>
    /// <returns>How many.</returns>
    public readonly int ReadDescriptors(Span<int> descriptors)
    {
        var header = (MessageHeader*)Pointer;
        var count = 0;
        var position = (byte*)header->Control;
        var end = position + header->ControlLength;
        while (position + sizeof(ControlHeader) <= end)
        {
            var control = (ControlHeader*)position;
            if (control->Length < (nuint)sizeof(ControlHeader) || control->Length > (nuint)(end - position))
                break;
            if (control->Level == SocketConstants.SolSocket && control->Type == SocketConstants.ScmRights)
            {
                var here = ((int)control->Length - sizeof(ControlHeader)) / sizeof(int);
                for (var i = 0; i < here && count < descriptors.Length; i++)
                    descriptors[count++] = ((int*)(position + sizeof(ControlHeader)))[i];
            }

            position += (control->Length + 7) & ~(nuint)7;
        }

        return count;
    }
}
