namespace StreamingDaemon.Uring.Interop;

/// <summary>
/// Constants of <c>&lt;linux/io_uring.h&gt;</c>. Those in 6.1's header are tested against the installed one;
/// newer ones cite the kernel that brought them.
/// </summary>
internal static class IoUringConstants
{
    // Opcodes.
    public const byte OpPollAdd = 6;
    public const byte OpRecvMsg = 10;
    public const byte OpAccept = 13;
    public const byte OpAsyncCancel = 14;
    public const byte OpRead = 22;
    public const byte OpSendMsg = 9;
    public const byte OpSend = 26;
    public const byte OpRecv = 27;
    public const byte OpShutdown = 34;

    // io_uring_setup(2) flags.
    public const uint SetupSqPoll = 1u << 1;
    public const uint SetupCqSize = 1u << 3;
    public const uint SetupClamp = 1u << 4;
    public const uint SetupSubmitAll = 1u << 7;
    public const uint SetupSingleIssuer = 1u << 12;
    public const uint SetupDeferTaskrun = 1u << 13;

    /// <summary>6.6: entries are taken in order, without the index array.</summary>
    public const uint SetupNoSqArray = 1u << 16;

    // Features that io_uring_setup(2) reports.
    public const uint FeatureSingleMmap = 1u << 0;
    public const uint FeatureNoDrop = 1u << 1;
    public const uint FeatureExtArg = 1u << 8;
    public const uint FeatureCqeSkip = 1u << 11;

    /// <summary>6.15: a wait need not be counted as waiting for a disk.</summary>
    public const uint FeatureNoIoWait = 1u << 17;

    // io_uring_enter(2) flags.
    public const uint EnterGetEvents = 1u << 0;
    public const uint EnterSqWakeup = 1u << 1;
    public const uint EnterSqWait = 1u << 2;
    public const uint EnterExtArg = 1u << 3;

    /// <summary>6.15, with <see cref="FeatureNoIoWait"/>.</summary>
    public const uint EnterNoIoWait = 1u << 7;

    // Flags in the shared submission ring.
    public const uint SqNeedWakeup = 1u << 0;
    public const uint SqCqOverflow = 1u << 1;

    // Entry flags and completion flags.
    public const byte SqeAsync = 1 << 4;
    public const byte SqeCqeSkipSuccess = 1 << 6;
    public const uint CqeMore = 1u << 1;

    // Per-operation flags.
    public const ushort AcceptMultishot = 1 << 0;
    public const uint PollAddMulti = 1u << 0;
    public const uint AsyncCancelAll = 1u << 0;

    // mmap(2) offsets.
    public const long OffsetSqRing = 0;
    public const long OffsetSqes = 0x10000000;
}
