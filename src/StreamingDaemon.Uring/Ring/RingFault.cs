using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Ring;

/// <summary>
/// Stands between a ring and the kernel, for tests: sees what is about to be submitted, what has come, and
/// answers in the kernel's place. A daemon has none, and pays one comparison a turn for it.
/// </summary>
/// <returns>The result of io_uring_enter(2): entries taken, or a negative errno.</returns>
internal delegate int RingFault(in EnterCall call);

/// <summary>One io_uring_enter(2), not yet made.</summary>
internal readonly unsafe struct EnterCall(IoUring ring, uint wait, uint flags, GetEventsArgument* argument)
{
    private readonly GetEventsArgument* _argument = argument;

    /// <summary>Completions that it waits for.</summary>
    public uint WaitCount => wait;

    public int SubmissionCount => (int)ring.SubmissionsPending();

    /// <summary>The n-th entry that is about to be submitted; it may be changed.</summary>
    public ref SubmissionEntry Submission(int n) => ref ring.PendingSubmission(n);

    /// <summary>Completions that have come and were not taken.</summary>
    public int CompletionCount => ring.UntakenCount;

    /// <summary>The n-th of them; it may be changed.</summary>
    public ref CompletionEntry Completion(int n) => ref ring.UntakenCompletion(n);

    /// <summary>The kernel keeps completions for which there was no room.</summary>
    public bool HasOverflowed => ring.HasOverflowed;

    /// <summary>Submits one more.</summary>
    /// <returns>False if the queue is full.</returns>
    public bool TryAdd(in SubmissionEntry entry) => ring.TryAppend(entry);

    /// <summary>Makes the call.</summary>
    public int Proceed() => ring.EnterKernel(ring.SubmissionsPending(), wait, flags, _argument);
}
