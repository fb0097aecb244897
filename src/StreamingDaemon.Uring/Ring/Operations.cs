using System.Runtime.CompilerServices;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.IoUringConstants;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Ring;

/// <summary>
/// All that a loop asks of its ring: fills every submission entry, submits, waits, gives out completions.
/// Another transport (epoll) could stand behind it: nothing outside this folder knows an entry's layout.
/// Loop-owned.
/// </summary>
/// <param name="ring">The loop's thread made it.</param>
internal sealed unsafe class Operations(IoUring ring) : IDisposable
{
    private IoUring _ring = ring;
    private long _entersBefore;

    /// <summary>Calls of io_uring_enter, including those of replaced rings.</summary>
    public long EnterCalls => _entersBefore + _ring.EnterCalls;

    /// <summary>Waits for a wake-up: reads the eventfd's 8 bytes.</summary>
    public void ReadWake(EventFd wake)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpRead;
        entry->Fd = wake.Fd;
        entry->Address = (ulong)wake.Buffer;
        entry->Length = sizeof(ulong);
        entry->UserData = OperationId.Pack(OperationKind.Wake, 0, 0);
    }

    /// <summary>Accepts one connection, or with <paramref name="multishot"/> each that comes.</summary>
    public void Accept(int listener, bool multishot)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpAccept;
        entry->Fd = listener;
        entry->IoPriority = multishot ? AcceptMultishot : (ushort)0;
        entry->OperationFlags = SockCloExec;
        entry->UserData = OperationId.Pack(OperationKind.Accept, 0, 0);
    }

    /// <summary>Waits until somebody shuts the listener down. An accept does not end then.</summary>
    public void PollForEndOfListener(int fd) =>
        NextPoll(fd, PollRdHup | PollHup, OperationKind.ListenerWatch, 0, 0);

    /// <summary>Ends every armed accept, by name: its descriptor's number may belong to another file by
    /// then.</summary>
    public void CancelAccepts() => NextCancel(OperationId.Pack(OperationKind.Accept, 0, 0), AsyncCancelAll);

    /// <summary>
    /// Looks at a handoff's message (MSG_PEEK). If our table has no place for the client's descriptor, the
    /// message stays. It can be asked for again, and the client is not lost. Taking a message would also
    /// release, on this thread, the descriptors that we have no room for.
    /// </summary>
    /// <param name="fd">The module's connection.</param>
    /// <param name="header">Stays valid until the completion.</param>
    /// <param name="waits">False: completes with -EAGAIN if no message is there.</param>
    /// <param name="generation">Of the handoff's slot.</param>
    /// <param name="slot">The handoff's.</param>
    public void ReceiveMessage(int fd, MessageHeader* header, bool waits, uint generation, int slot)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpRecvMsg;
        entry->Fd = fd;
        entry->Address = (ulong)header;
        entry->Length = 1;
        entry->OperationFlags = MsgCmsgCloExec | MsgPeek | (waits ? 0u : MsgDontWait);
        entry->UserData = OperationId.Pack(OperationKind.HandoffReceive, generation, slot);
    }

    /// <summary>
    /// Waits for a client to leave. io_uring reports RDHUP even if it is not asked for (IO_POLL_UNMASK), and
    /// for as long as it is true. If a FIN alone is not the end, only the edges are useful: multishot gives
    /// those.
    /// </summary>
    public void PollForEnd(int fd, bool onlyEdges, uint generation, int slot)
    {
        var entry = NextPoll(fd, PollRdHup | PollHup | PollErr, OperationKind.ClientWatch, generation, slot);
        entry->Length = onlyEdges ? PollAddMulti : 0;
    }

    /// <summary>Waits until a send has room.</summary>
    public void PollWritable(int fd, uint generation, int slot) =>
        NextPoll(fd, PollOut, OperationKind.ClientWritable, generation, slot);

    /// <summary>Waits until a read finds something.</summary>
    public void PollReadable(int fd, uint generation, int slot) =>
        NextPoll(fd, PollIn, OperationKind.ClientReadable, generation, slot);

    /// <summary>Waits until there will be nothing more to read.</summary>
    public void PollForEndOfRead(int fd, uint generation, int slot) =>
        NextPoll(fd, PollRdHup | PollHup | PollErr, OperationKind.ClientReadable, generation, slot);

    /// <summary>Has a worker of the kernel send (IOSQE_ASYNC).</summary>
    /// <param name="fd">The client's.</param>
    /// <param name="bytes">Stay valid until the completion.</param>
    /// <param name="length">How many.</param>
    /// <param name="generation">Of the client's slot.</param>
    /// <param name="slot">The client's.</param>
    public void SendByWorker(int fd, byte* bytes, int length, uint generation, int slot)
    {
        var entry = NextForWorker(fd, OpSend, OperationKind.ClientSend, generation, slot);
        entry->OperationFlags = MsgNoSignal | MsgDontWait;
        entry->Address = (ulong)bytes;
        entry->Length = (uint)length;
    }

    /// <summary>As <see cref="SendByWorker"/>: reads.</summary>
    public void ReadByWorker(int fd, byte* bytes, int length, uint generation, int slot)
    {
        var entry = NextForWorker(fd, OpRecv, OperationKind.ClientRead, generation, slot);
        entry->OperationFlags = MsgDontWait;
        entry->Address = (ulong)bytes;
        entry->Length = (uint)length;
    }

    /// <summary>As <see cref="SendByWorker"/>: sends a message with control data.</summary>
    public void SendMessageByWorker(
        int fd, MessageHeader* message, OperationKind kind, uint generation, int slot)
    {
        var entry = NextForWorker(fd, OpSendMsg, kind, generation, slot);
        entry->OperationFlags = MsgNoSignal | MsgDontWait;
        entry->Address = (ulong)message;
        entry->Length = 1;
    }

    /// <summary>As <see cref="SendByWorker"/>: sends the end of our stream (FIN).</summary>
    public void ShutdownByWorker(int fd, uint generation, int slot)
    {
        var entry = NextForWorker(fd, OpShutdown, OperationKind.ClientShutdown, generation, slot);
        entry->Length = ShutWr;
    }

    /// <summary>Ends what is in flight. By name, which the kernel finds in a hash table; by descriptor it
    /// would search every operation of the ring.</summary>
    public void Cancel(OperationKind kind, uint generation, int slot) =>
        NextCancel(OperationId.Pack(kind, generation, slot), 0);

    /// <summary>One io_uring_enter(2): submits everything pending, then waits.</summary>
    /// <param name="wait">Completions to wait for, 0 to only look.</param>
    /// <param name="timeoutMs">Bound of the wait in milliseconds, or -1 for none.</param>
    /// <returns>False if the kernel is short of memory and there is no completion to take.</returns>
    /// <exception cref="HandoffServerException">The ring is no longer reliable.</exception>
    public bool Enter(uint wait, int timeoutMs) =>
        _ring.Enter(wait, timeoutMs) is not (-Errno.Again or -Errno.Busy) || _ring.TryPeekCompletion();

    public bool TryPeekCompletion() => _ring.TryPeekCompletion();

    /// <summary>Takes the next completion, if there is one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryTakeCompletion(out CompletionEntry completion) =>
        _ring.TryTakeCompletion(out completion);

    /// <summary>Continues with another ring: the old one's thread hangs in a call that is not the ring's.
    /// What was in flight in the old one is cancelled.</summary>
    /// <param name="ring">The calling thread's.</param>
    /// <returns>What had completed in the old one and was not taken.</returns>
    public List<CompletionEntry> Replace(IoUring ring)
    {
        var completed = new List<CompletionEntry>();
        while (_ring.TryTakeCompletion(out var completion))
            completed.Add(completion);
        _entersBefore += _ring.EnterCalls;
        _ring.Dispose();
        _ring = ring;
        return completed;
    }

    /// <summary>Closes the ring: the kernel holds no pointer into the loop's memory any more.</summary>
    public void Dispose() => _ring.Dispose();

    private SubmissionEntry* NextPoll(int fd, uint events, OperationKind kind, uint generation, int slot)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpPollAdd;
        entry->Fd = fd;
        entry->OperationFlags = events;
        entry->UserData = OperationId.Pack(kind, generation, slot);
        return entry;
    }

    private SubmissionEntry* NextForWorker(
        int fd, byte opcode, OperationKind kind, uint generation, int slot)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = opcode;
        entry->Flags = SqeAsync;
        entry->Fd = fd;
        entry->UserData = OperationId.Pack(kind, generation, slot);
        return entry;
    }

    private void NextCancel(ulong name, uint flags)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpAsyncCancel;
        entry->Flags = SqeCqeSkipSuccess;
        entry->Fd = -1;
        entry->Address = name;
        entry->OperationFlags = flags;
        entry->UserData = OperationId.Pack(OperationKind.Cancel, 0, 0);
    }
}
