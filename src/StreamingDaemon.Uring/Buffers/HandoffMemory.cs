using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Buffers;

/// <summary>Where one handoff is received: a message header, room for descriptors, and the data.</summary>
internal unsafe struct HandoffMemory(byte* pointer, int capacity)
{
    /// <summary>The first page holds what the kernel is told; the data starts behind it.</summary>
    private const int HeaderBytes = 4096;
    private const int VectorOffset = 64;
    private const int ControlOffset = 128;

    // CMSG_LEN of the client's descriptor, and of one for the data. The kernel installs only as many as fit,
    // and drops the others.
    private const int OneDescriptor = 20;
    private const int TwoDescriptors = 24;

    public readonly byte* Pointer = pointer;

    /// <summary>Bytes of data that it holds.</summary>
    public readonly int Capacity = capacity;

    public static int BytesFor(int maxHandoffBytes) => HeaderBytes + ((maxHandoffBytes + 1 + 4095) & ~4095);

    public readonly byte* Data => Pointer + HeaderBytes;

    /// <summary>Readies the header to receive at most <paramref name="room"/> bytes at an offset.</summary>
    /// <param name="offset">Bytes that are here already.</param>
    /// <param name="room">Bytes more.</param>
    /// <param name="descriptors">There is room for so many of them too, at most two.</param>
    public readonly MessageHeader* Prepare(int offset, int room, int descriptors)
    {
        var vector = (IoVector*)(Pointer + VectorOffset);
        *vector = new IoVector { Base = Data + offset, Length = (nuint)room };
        var header = (MessageHeader*)Pointer;
        *header = new MessageHeader
        {
            Vectors = vector,
            VectorCount = 1,
            Control = Pointer + ControlOffset,
            ControlLength = (nuint)(descriptors switch { 0 => 0, 1 => OneDescriptor, _ => TwoDescriptors }),
        };
        return header;
    }

    public readonly int ReceivedFlags => ((MessageHeader*)Pointer)->Flags;

    /// <summary>There was no room for a descriptor that came with the last message.</summary>
    public readonly bool IsCut => (ReceivedFlags & SocketConstants.MsgCTrunc) != 0;

    /// <summary>A descriptor came with the last message, and had room.</summary>
    public readonly bool HasDescriptor => ((MessageHeader*)Pointer)->ControlLength >= OneDescriptor;

    /// <summary>The descriptors that came with the last message, in their order; -1 for one that did not
    /// come.</summary>
    /// <param name="arePassed">The peer sent them; otherwise the kernel added one (SCM_PIDFD).</param>
    public readonly (int First, int Second) TakeDescriptors(out bool arePassed)
    {
        arePassed = false;
        var header = (MessageHeader*)Pointer;
        var control = (ControlHeader*)header->Control;
        if (!HasDescriptor || control->Length < OneDescriptor
            || control->Level != SocketConstants.SolSocket
            || control->Type is not (SocketConstants.ScmRights or SocketConstants.ScmPidFd))
        {
            return (-1, -1);
        }

        arePassed = control->Type == SocketConstants.ScmRights;
        var descriptors = (int*)(control + 1);
        return (descriptors[0], control->Length >= TwoDescriptors ? descriptors[1] : -1);
    }
}
