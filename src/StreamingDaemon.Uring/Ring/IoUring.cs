using System.Runtime.CompilerServices;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.IoUringConstants;

namespace StreamingDaemon.Uring.Ring;

/// <summary>
/// One io_uring: its set-up and its two queues in shared memory.
/// Owned by the thread that created it: SINGLE_ISSUER and DEFER_TASKRUN make the kernel hold us to that.
/// </summary>
internal sealed unsafe partial class IoUring : IDisposable
{
    private readonly int _fd;
    private readonly byte* _rings;
    private readonly nuint _ringsSize;
    private readonly SubmissionEntry* _entries;
    private readonly nuint _entriesSize;

    private readonly uint* _sqHead;
    private readonly uint* _sqTail;
    private readonly uint* _sqFlags;
    private readonly uint _sqMask;
    private readonly uint _sqSize;

    private readonly uint* _cqHead;
    private readonly uint* _cqTail;
    private readonly uint _cqMask;
    private readonly CompletionEntry* _completions;

    private readonly uint _enterFlags;
    private readonly bool _sqPoll;
    private readonly RingFault? _fault;

    /// <summary>Completions taken from the ring before their time, to make room.</summary>
    private readonly Queue<CompletionEntry> _putAside = new();
    private uint _localTail;
    private bool _disposed;

    private IoUring(int fd, in IoUringParams parameters, byte* rings, nuint ringsSize,
        SubmissionEntry* entries, nuint entriesSize, RingFault? fault)
    {
        _fd = fd;
        _fault = fault;
        _rings = rings;
        _ringsSize = ringsSize;
        _entries = entries;
        _entriesSize = entriesSize;
        SetupFlags = parameters.Flags;
        Features = parameters.Features;
        _sqPoll = (parameters.Flags & SetupSqPoll) != 0;

        _sqHead = (uint*)(rings + parameters.SqOffsets.Head);
        _sqTail = (uint*)(rings + parameters.SqOffsets.Tail);
        _sqFlags = (uint*)(rings + parameters.SqOffsets.Flags);
        _sqSize = parameters.SqEntries;
        _sqMask = parameters.SqEntries - 1;
        _cqHead = (uint*)(rings + parameters.CqOffsets.Head);
        _cqTail = (uint*)(rings + parameters.CqOffsets.Tail);
        _cqMask = parameters.CqEntries - 1;
        _completions = (CompletionEntry*)(rings + parameters.CqOffsets.Entries);
        CompletionCapacity = parameters.CqEntries;

        if ((parameters.Flags & SetupNoSqArray) == 0)
        {
            // Entries are used in ring order, so the index array is written once and never again.
            var array = (uint*)(rings + parameters.SqOffsets.Array);
            for (uint i = 0; i < _sqSize; i++)
                array[i] = i;
        }

        // Not registered with its thread (IORING_REGISTER_RING_FDS): that holds the ring's file, and only
        // that thread could let go of it (see Dispose).
        _enterFlags = EnterGetEvents | EnterExtArg
            | ((Features & FeatureNoIoWait) != 0 ? EnterNoIoWait : 0);
    }

    public uint SetupFlags { get; }

    public uint Features { get; }

    public uint CompletionCapacity { get; }

    /// <summary>Sets up a ring; the calling thread becomes its only user.</summary>
    /// <param name="entries">Submission queue entries, rounded up by the kernel to a power of two.</param>
    /// <param name="sqPoll">A kernel thread submits; never silently left out.</param>
    /// <param name="fault">For tests.</param>
    /// <exception cref="HandoffServerException">The kernel refuses; the message says why and how to fix
    /// it.</exception>
    public static IoUring Create(uint entries, bool sqPoll, RingFault? fault = null)
    {
        // SQPOLL and DEFER_TASKRUN exclude each other (io_uring_setup(2)).
        var required = SetupSingleIssuer | SetupSubmitAll | SetupCqSize | SetupClamp
            | (sqPoll ? SetupSqPoll : SetupDeferTaskrun);
        var parameters = new IoUringParams();
        var fd = -Errno.Inval;
        foreach (var flags in (ReadOnlySpan<uint>)[required | SetupNoSqArray, required])
        {
            parameters = new IoUringParams
            {
                Flags = flags,
                CqEntries = entries * 4,
                SqThreadIdle = sqPoll ? 50u : 0,
            };
            fd = LinuxNative.IoUringSetup(entries, &parameters);
            if (fd != -Errno.Inval)
                break;
        }

        if (fd < 0)
        {
            var refusal = RingSetupDiagnosis.Explain(-fd, entries, RingSetupDiagnosis.Environment.Read());
            throw sqPoll
                ? new HandoffServerException(
                    $"--sqpoll is on, but the kernel refuses it. {refusal.Message}", -fd)
                : refusal;
        }

        const uint Needed = FeatureSingleMmap | FeatureNoDrop | FeatureExtArg | FeatureCqeSkip;
        if ((parameters.Features & Needed) != Needed)
        {
            _ = LinuxNative.Close(fd);
            throw new HandoffServerException(
                $"io_uring lacks features that Linux 6.1 has (0x{parameters.Features:x}, needed "
                + $"0x{Needed:x}). Use Linux 6.1 or newer");
        }

        return Map(fd, parameters, entries, fault);
    }

    private static IoUring Map(int fd, in IoUringParams parameters, uint entries, RingFault? fault)
    {
        var sqBytes = parameters.SqOffsets.Array + parameters.SqEntries * sizeof(uint);
        var cqBytes = parameters.CqOffsets.Entries + parameters.CqEntries * (uint)sizeof(CompletionEntry);
        nuint ringsSize = Math.Max(sqBytes, cqBytes);
        var entriesSize = parameters.SqEntries * (nuint)sizeof(SubmissionEntry);

        var error = LinuxNative.MMap(ringsSize, fd, OffsetSqRing, out var rings);
        byte* sqes = null;
        if (error == 0)
            error = LinuxNative.MMap(entriesSize, fd, OffsetSqes, out sqes);
        if (error < 0)
        {
            if (rings is not null)
                _ = LinuxNative.MUnmap(rings, ringsSize);
            _ = LinuxNative.Close(fd);
            throw RingSetupDiagnosis.Explain(-error, entries, RingSetupDiagnosis.Environment.Read());
        }

        return new IoUring(fd, parameters, rings, ringsSize, (SubmissionEntry*)sqes, entriesSize,
            fault);
    }

    /// <summary>
    /// Closes the ring. By the owning thread if nothing is in flight any more. By another one if the owner
    /// hangs in a call that is not the ring's and never touches the ring again: what is in flight is
    /// cancelled by the kernel, and lets go of its files.
    /// </summary>
    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _ = LinuxNative.MUnmap(_entries, _entriesSize);
        _ = LinuxNative.MUnmap(_rings, _ringsSize);
        _ = LinuxNative.Close(_fd);
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    internal uint SubmissionsPending() => _localTail - Volatile.Read(ref *_sqHead);
}
