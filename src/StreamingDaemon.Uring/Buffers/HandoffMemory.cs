using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Buffers;

/// <summary>Where one handoff is received: a message header, room for descriptors, and the data.</summary>
internal unsafe struct HandoffMemory(byte* pointer, int capacity)
{
    /// <summary>The first page holds what the kernel is told; the data starts behind it.</summary>
    private const int HeaderBytes = 4096;
    private const int VectorOffset = 64;
    private const int ControlOffset = 128;

    // CMSG_LEN of one descriptor. The kernel installs only as many as fit, and drops the others.
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

    /// <summary>A descriptor came with the last message, and had room.</summary>
    public readonly bool HasDescriptor => ((MessageHeader*)Pointer)->ControlLength >= ControlBytes;

    /// <summary>The descriptor that came with the last message.</summary>
    /// <param name="isClient">The peer sent it; otherwise the kernel added it (SCM_PIDFD).</param>
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
