using System.Runtime.CompilerServices;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.IoUringConstants;

namespace StreamingDaemon.Uring.Ring;

internal sealed unsafe partial class IoUring
{
    /// <summary>
    /// The next free submission entry, zeroed. The next <see cref="Enter"/> submits it; if the queue is full,
    /// what is in it is submitted now.
    /// </summary>
    public SubmissionEntry* NextEntry()
    {
        while (SubmissionsPending() == _sqSize)
            MakeRoom();
        var entry = _entries + (_localTail & _sqMask);
        *entry = default;
        _localTail++;
        return entry;
    }

    private void MakeRoom()
    {
        var result = Enter(0, -1, _sqPoll ? EnterSqWait : 0);
        if (result is not (-Errno.Busy or -Errno.Again))
            return;
        // The kernel wants its completions taken first, which is the job of our caller's caller: set them
        // aside for it.
        if (*_cqHead == Volatile.Read(ref *_cqTail))
            Thread.Yield();
        while (TryTakeFromRing(out var completion))
            _putAside.Enqueue(completion);
    }

    /// <summary>
    /// One io_uring_enter(2): submits everything pending, then waits.
    /// </summary>
    /// <param name="wait">Completions to wait for, 0 to only look.</param>
    /// <param name="timeoutMs">Bound of the wait in milliseconds, or -1 for none.</param>
    /// <param name="extraFlags">More enter flags.</param>
    /// <returns>0, or -EAGAIN or -EBUSY: take completions and call again.</returns>
    /// <exception cref="HandoffServerException">Any other error: the ring is no longer reliable.</exception>
    public int Enter(uint wait, int timeoutMs, uint extraFlags = 0)
    {
        var timespec = new KernelTimespec
        {
            Seconds = timeoutMs / 1000,
            Nanoseconds = timeoutMs % 1000 * 1_000_000L,
        };
        var argument = new GetEventsArgument { Timespec = timeoutMs < 0 ? 0 : (ulong)&timespec };

        Volatile.Write(ref *_sqTail, _localTail);
        var flags = _enterFlags | extraFlags;
        uint submit;
        if (_sqPoll)
        {
            // The kernel thread reads the tail by itself; it must be woken if it said that it sleeps, and the
            // store of the tail must be seen before that flag is read (io_uring_setup(2), SQPOLL).
            Interlocked.MemoryBarrier();
            submit = 0;
            if ((Volatile.Read(ref *_sqFlags) & SqNeedWakeup) != 0)
                flags |= EnterSqWakeup;
        }
        else
        {
            submit = SubmissionsPending();
        }

        var result = _fault is null
            ? EnterKernel(submit, wait, flags, &argument)
            : _fault(new EnterCall(this, wait, flags, &argument));
        EnterCalls++;
        return result switch
        {
            >= 0 => 0,
            // ETIME: the bound was reached. EINTR: a signal; the loop checks its state and comes back.
            -Errno.Time or -Errno.Intr => 0,
            -Errno.Again or -Errno.Busy => result,
            _ => throw new HandoffServerException(
                $"io_uring_enter: {LinuxNative.Describe(result)} (errno {-result}); the loop cannot go on",
                -result),
        };
    }

    internal int EnterKernel(uint submit, uint wait, uint flags, GetEventsArgument* argument) =>
        LinuxNative.IoUringEnter(_fd, submit, wait, flags, argument, (nuint)sizeof(GetEventsArgument));

    internal bool TryAppend(in SubmissionEntry entry)
    {
        if (SubmissionsPending() == _sqSize)
            return false;
        _entries[_localTail++ & _sqMask] = entry;
        Volatile.Write(ref *_sqTail, _localTail);
        return true;
    }

    internal ref SubmissionEntry PendingSubmission(int n) =>
        ref _entries[(Volatile.Read(ref *_sqHead) + (uint)n) & _sqMask];

    internal int UntakenCount => (int)(Volatile.Read(ref *_cqTail) - *_cqHead);

    internal ref CompletionEntry UntakenCompletion(int n) =>
        ref _completions[(*_cqHead + (uint)n) & _cqMask];

    /// <summary>Completions had no room and are kept by the kernel (FEAT_NODROP).</summary>
    internal bool HasOverflowed => (Volatile.Read(ref *_sqFlags) & SqCqOverflow) != 0;

    /// <summary>Submits until nothing is pending: closing a ring drops what the kernel was not
    /// given.</summary>
    public void Flush()
    {
        // With SQPOLL the kernel's thread takes them when it gets to run; without, the first call does,
        // unless the kernel is out of memory for requests.
        const int PatienceMs = 5_000;
        for (var waitedMs = 0; SubmissionsPending() > 0 && waitedMs < PatienceMs; waitedMs++)
        {
            _ = Enter(0, 0);
            if (SubmissionsPending() > 0)
                Thread.Sleep(1);
        }
    }

    /// <summary>How often io_uring_enter was called.</summary>
    public long EnterCalls { get; private set; }

    public bool TryPeekCompletion() => _putAside.Count > 0 || *_cqHead != Volatile.Read(ref *_cqTail);

    /// <summary>Takes the next completion, if there is one.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public bool TryTakeCompletion(out CompletionEntry completion) =>
        (_putAside.Count > 0 && _putAside.TryDequeue(out completion)) || TryTakeFromRing(out completion);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private bool TryTakeFromRing(out CompletionEntry completion)
    {
        var head = *_cqHead;
        if (head == Volatile.Read(ref *_cqTail))
        {
            completion = default;
            return false;
        }

        completion = _completions[head & _cqMask];
        // Released one at a time: a handler may submit, and the kernel may need the room.
        Volatile.Write(ref *_cqHead, head + 1);
        return true;
    }
}
