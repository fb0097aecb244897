using System.Diagnostics;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Interop;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Interop;

/// <summary>What is typed by hand is compared with what the C compiler reads in the installed headers.</summary>
[Trait("Needs", "Tools")]
public sealed class KernelHeaderTests
{
    // Younger than the 6.1 header of the oldest distribution that is supported; include/uapi/linux/io_uring.h
    // of the kernel that brought each. They are compared too if the installed header has them.
    private static readonly Dictionary<string, long> s_younger = new()
    {
        ["IORING_SETUP_NO_SQARRAY"] = 1 << 16, // 6.6
        ["IORING_FEAT_NO_IOWAIT"] = 1 << 17, // 6.15
        ["IORING_ENTER_NO_IOWAIT"] = 1 << 7, // 6.15
        ["SO_PASSPIDFD"] = 76, // 6.5, include/uapi/asm-generic/socket.h
        ["SCM_PIDFD"] = 4, // 6.5, include/linux/socket.h
        ["SO_PASSRIGHTS"] = 83, // 6.16
        ["SO_INQ"] = 84, // 6.17
    };

    private static readonly (string C, long Value)[] s_constants =
    [
        ("IORING_OP_POLL_ADD", IoUringConstants.OpPollAdd),
        ("IORING_OP_RECVMSG", IoUringConstants.OpRecvMsg),
        ("IORING_OP_ACCEPT", IoUringConstants.OpAccept),
        ("IORING_OP_ASYNC_CANCEL", IoUringConstants.OpAsyncCancel),
        ("IORING_OP_READ", IoUringConstants.OpRead),
        ("IORING_OP_SENDMSG", IoUringConstants.OpSendMsg),
        ("IORING_OP_SEND", IoUringConstants.OpSend),
        ("IORING_OP_RECV", IoUringConstants.OpRecv),
        ("IORING_OP_SHUTDOWN", IoUringConstants.OpShutdown),
        ("IORING_SETUP_SQPOLL", IoUringConstants.SetupSqPoll),
        ("IORING_SETUP_CQSIZE", IoUringConstants.SetupCqSize),
        ("IORING_SETUP_CLAMP", IoUringConstants.SetupClamp),
        ("IORING_SETUP_SUBMIT_ALL", IoUringConstants.SetupSubmitAll),
        ("IORING_SETUP_SINGLE_ISSUER", IoUringConstants.SetupSingleIssuer),
        ("IORING_SETUP_DEFER_TASKRUN", IoUringConstants.SetupDeferTaskrun),
        ("IORING_SETUP_NO_SQARRAY", IoUringConstants.SetupNoSqArray),
        ("IORING_FEAT_SINGLE_MMAP", IoUringConstants.FeatureSingleMmap),
        ("IORING_FEAT_NODROP", IoUringConstants.FeatureNoDrop),
        ("IORING_FEAT_EXT_ARG", IoUringConstants.FeatureExtArg),
        ("IORING_FEAT_CQE_SKIP", IoUringConstants.FeatureCqeSkip),
        ("IORING_FEAT_NO_IOWAIT", IoUringConstants.FeatureNoIoWait),
        ("IORING_ENTER_GETEVENTS", IoUringConstants.EnterGetEvents),
        ("IORING_ENTER_SQ_WAKEUP", IoUringConstants.EnterSqWakeup),
        ("IORING_ENTER_SQ_WAIT", IoUringConstants.EnterSqWait),
        ("IORING_ENTER_EXT_ARG", IoUringConstants.EnterExtArg),
        ("IORING_ENTER_NO_IOWAIT", IoUringConstants.EnterNoIoWait),
        ("IORING_SQ_NEED_WAKEUP", IoUringConstants.SqNeedWakeup),
        ("IORING_SQ_CQ_OVERFLOW", IoUringConstants.SqCqOverflow),
        ("IOSQE_ASYNC", IoUringConstants.SqeAsync),
        ("IOSQE_CQE_SKIP_SUCCESS", IoUringConstants.SqeCqeSkipSuccess),
        ("IORING_CQE_F_MORE", IoUringConstants.CqeMore),
        ("IORING_ACCEPT_MULTISHOT", IoUringConstants.AcceptMultishot),
        ("IORING_POLL_ADD_MULTI", IoUringConstants.PollAddMulti),
        ("IORING_ASYNC_CANCEL_ALL", IoUringConstants.AsyncCancelAll),
        ("IORING_OFF_SQ_RING", IoUringConstants.OffsetSqRing),
        ("IORING_OFF_SQES", IoUringConstants.OffsetSqes),
        ("AF_UNIX", SocketConstants.AfUnix),
        ("SOCK_STREAM", SocketConstants.SockStream),
        ("SOCK_SEQPACKET", SocketConstants.SockSeqPacket),
        ("SOCK_NONBLOCK", SocketConstants.SockNonBlock),
        ("SOCK_CLOEXEC", SocketConstants.SockCloExec),
        ("SOL_SOCKET", SocketConstants.SolSocket),
        ("SO_TYPE", SocketConstants.SoType),
        ("SO_ERROR", SocketConstants.SoError),
        ("SO_PEERCRED", SocketConstants.SoPeerCred),
        ("SO_ACCEPTCONN", SocketConstants.SoAcceptConn),
        ("SO_SNDTIMEO", SocketConstants.SoSndTimeO),
        ("SO_LINGER", SocketConstants.SoLinger),
        ("sizeof(struct linger)", 2 * sizeof(int)),
        ("IPPROTO_TCP", SocketConstants.IpProtoTcp),
        ("TCP_NODELAY", SocketConstants.TcpNoDelay),
        ("SOL_TLS", SocketConstants.SolTls),
        ("TLS_TX", SocketConstants.TlsTx),
        ("TLS_SET_RECORD_TYPE", SocketConstants.TlsSetRecordType),
        ("SCM_RIGHTS", SocketConstants.ScmRights),
        ("SCM_PIDFD", SocketConstants.ScmPidFd),
        ("SO_PASSCRED", SocketConstants.SoPassCred),
        ("SO_PASSSEC", SocketConstants.SoPassSec),
        ("SO_PASSPIDFD", SocketConstants.SoPassPidFd),
        ("SO_TIMESTAMP", SocketConstants.SoTimestamp),
        ("SO_TIMESTAMPNS", SocketConstants.SoTimestampNs),
        ("SO_TIMESTAMPING", SocketConstants.SoTimestamping),
        ("SO_PASSRIGHTS", SocketConstants.SoPassRights),
        ("SO_INQ", SocketConstants.SoInq),
        ("SO_PROTOCOL", SocketConstants.SoProtocol),
        ("SO_PEEK_OFF", SocketConstants.SoPeekOff),
        ("SO_OOBINLINE", SocketConstants.SoOobInline),
        ("SO_SNDBUF", SocketConstants.SoSndBuf),
        ("IPPROTO_MPTCP", SocketConstants.IpProtoMpTcp),
        ("SIOCOUTQ", (long)SocketConstants.SioCOutQ),
        ("SIOCINQ", (long)SocketConstants.SioCInQ),
        ("MSG_PEEK", SocketConstants.MsgPeek),
        ("MSG_DONTWAIT", SocketConstants.MsgDontWait),
        ("MSG_CTRUNC", SocketConstants.MsgCTrunc),
        ("MSG_TRUNC", SocketConstants.MsgTrunc),
        ("MSG_NOSIGNAL", SocketConstants.MsgNoSignal),
        ("MSG_CMSG_CLOEXEC", SocketConstants.MsgCmsgCloExec),
        ("POLLIN", SocketConstants.PollIn),
        ("POLLOUT", SocketConstants.PollOut),
        ("POLLERR", SocketConstants.PollErr),
        ("POLLHUP", SocketConstants.PollHup),
        ("POLLRDHUP", SocketConstants.PollRdHup),
        ("SHUT_WR", SocketConstants.ShutWr),
        ("SHUT_RD", SocketConstants.ShutRd),
        ("SO_DOMAIN", SocketConstants.SoDomain),
        ("O_RDWR", FileNative.OpenReadWrite),
        ("O_CREAT", FileNative.OpenCreate),
        ("O_EXCL", FileNative.OpenExclusive),
        ("O_NONBLOCK", FileNative.OpenNonBlock),
        ("O_CLOEXEC", FileNative.OpenCloExec),
        ("O_NOFOLLOW", FileNative.OpenNoFollow),
        ("O_PATH", FileNative.OpenPath),
        ("LOCK_EX", FileNative.LockExclusive),
        ("LOCK_NB", FileNative.LockNonBlocking),
        ("F_SETFD", FileNative.SetDescriptorFlags), ("F_DUPFD_CLOEXEC", FileNative.DuplicateCloseOnExec),
        ("F_GETFL", FileNative.GetStatusFlags),
        ("F_SETFL", FileNative.SetStatusFlags),
        ("FD_CLOEXEC", FileNative.CloseOnExec),
        ("EFD_CLOEXEC", SocketConstants.EfdCloExec),
        ("SYS_io_uring_setup", LinuxNative.SysIoUringSetup),
        ("SYS_io_uring_enter", LinuxNative.SysIoUringEnter),
        ("SYS_gettid", LinuxNative.SysGetTid),
        ("SYS_tgkill", LinuxNative.SysTgKill),
        ("PROT_READ | PROT_WRITE", LinuxNative.ProtReadWrite),
        ("MAP_SHARED", LinuxNative.MapShared),
        ("MAP_PRIVATE", LinuxNative.MapPrivate),
        ("MAP_ANONYMOUS", LinuxNative.MapAnonymous),
        ("MAP_POPULATE", LinuxNative.MapPopulate),
        ("MADV_DONTNEED", LinuxNative.MadvDontNeed),
        ("RLIMIT_STACK", StackLimit.Resource),
        ("RLIMIT_NOFILE", LinuxNative.RLimitNoFile),
        ("W_OK | X_OK", LinuxNative.AccessWriteAndSearch),
        ("AT_FDCWD", FileIdentity.AtFdCwd),
        ("AT_EMPTY_PATH", FileIdentity.AtEmptyPath),
        ("AT_SYMLINK_NOFOLLOW", FileIdentity.AtSymlinkNoFollow),
        ("STATX_TYPE | STATX_MODE | STATX_NLINK | STATX_UID | STATX_INO | STATX_SIZE", FileIdentity.StatxWanted),
        ("S_IFMT", FileIdentity.TypeMask),
        ("S_IFSOCK", FileIdentity.TypeSocket),
        ("S_IFLNK", FileIdentity.TypeLink),
        ("S_IFREG", FileIdentity.TypeRegular),
        ("S_IFDIR", FileIdentity.TypeDirectory),
        ("S_IFIFO", FileIdentity.TypeFifo),
        ("CMSG_LEN(sizeof(int))", 20),
        ("EPERM", Errno.Perm), ("ENOENT", Errno.NoEnt), ("EINTR", Errno.Intr), ("EAGAIN", Errno.Again),
        ("ENOMEM", Errno.NoMem), ("EACCES", Errno.Access), ("EBUSY", Errno.Busy), ("EINVAL", Errno.Inval),
        ("ENFILE", Errno.NFile), ("EMFILE", Errno.MFile), ("EPIPE", Errno.Pipe), ("ENOSYS", Errno.NoSys),
        ("ETIME", Errno.Time), ("EPROTOTYPE", Errno.Prototype), ("EADDRINUSE", Errno.AddrInUse),
        ("ECONNABORTED", Errno.ConnAborted), ("ECONNRESET", Errno.ConnReset), ("ETIMEDOUT", Errno.TimedOut),
        ("ECONNREFUSED", Errno.ConnRefused), ("EEXIST", Errno.Exist), ("ERANGE", Errno.Range),
        ("ECONNREFUSED", Errno.ConnRefused), ("ENOBUFS", Errno.NoBufs), ("ECANCELED", Errno.Canceled),
    ];

    private static readonly (string C, long Value)[] s_layout =
    [
        Size<SubmissionEntry>("struct io_uring_sqe"),
        At<SubmissionEntry>("struct io_uring_sqe", "ioprio", nameof(SubmissionEntry.IoPriority)),
        At<SubmissionEntry>("struct io_uring_sqe", "fd", nameof(SubmissionEntry.Fd)),
        At<SubmissionEntry>("struct io_uring_sqe", "off", nameof(SubmissionEntry.Offset)),
        At<SubmissionEntry>("struct io_uring_sqe", "addr", nameof(SubmissionEntry.Address)),
        At<SubmissionEntry>("struct io_uring_sqe", "len", nameof(SubmissionEntry.Length)),
        At<SubmissionEntry>("struct io_uring_sqe", "msg_flags", nameof(SubmissionEntry.OperationFlags)),
        At<SubmissionEntry>("struct io_uring_sqe", "accept_flags", nameof(SubmissionEntry.OperationFlags)),
        At<SubmissionEntry>("struct io_uring_sqe", "poll32_events", nameof(SubmissionEntry.OperationFlags)),
        At<SubmissionEntry>("struct io_uring_sqe", "cancel_flags", nameof(SubmissionEntry.OperationFlags)),
        At<SubmissionEntry>("struct io_uring_sqe", "user_data", nameof(SubmissionEntry.UserData)),
        Size<CompletionEntry>("struct io_uring_cqe"),
        At<CompletionEntry>("struct io_uring_cqe", "res", nameof(CompletionEntry.Result)),
        At<CompletionEntry>("struct io_uring_cqe", "flags", nameof(CompletionEntry.Flags)),
        Size<IoUringParams>("struct io_uring_params"),
        At<IoUringParams>("struct io_uring_params", "features", nameof(IoUringParams.Features)),
        At<IoUringParams>("struct io_uring_params", "sq_off", nameof(IoUringParams.SqOffsets)),
        At<IoUringParams>("struct io_uring_params", "cq_off", nameof(IoUringParams.CqOffsets)),
        Size<SubmissionQueueOffsets>("struct io_sqring_offsets"),
        At<SubmissionQueueOffsets>("struct io_sqring_offsets", "flags", nameof(SubmissionQueueOffsets.Flags)),
        At<SubmissionQueueOffsets>("struct io_sqring_offsets", "array", nameof(SubmissionQueueOffsets.Array)),
        Size<CompletionQueueOffsets>("struct io_cqring_offsets"),
        At<CompletionQueueOffsets>("struct io_cqring_offsets", "cqes", nameof(CompletionQueueOffsets.Entries)),
        Size<GetEventsArgument>("struct io_uring_getevents_arg"),
        At<GetEventsArgument>("struct io_uring_getevents_arg", "ts", nameof(GetEventsArgument.Timespec)),
        Size<KernelTimespec>("struct __kernel_timespec"),
        Size<MessageHeader>("struct msghdr"),
        At<MessageHeader>("struct msghdr", "msg_iov", nameof(MessageHeader.Vectors)),
        At<MessageHeader>("struct msghdr", "msg_control", nameof(MessageHeader.Control)),
        At<MessageHeader>("struct msghdr", "msg_flags", nameof(MessageHeader.Flags)),
        Size<ControlHeader>("struct cmsghdr"),
        At<ControlHeader>("struct cmsghdr", "cmsg_type", nameof(ControlHeader.Type)),
        Size<IoVector>("struct iovec"),
        Size<PeerCredentials>("struct ucred"),
        At<PeerCredentials>("struct ucred", "uid", nameof(PeerCredentials.UserId)),
        At<PeerCredentials>("struct ucred", "gid", nameof(PeerCredentials.GroupId)),
        Size<UnixAddress>("struct sockaddr_un"),
        Size<FileNative.GroupEntry>("struct group"),
        At<FileNative.GroupEntry>("struct group", "gr_gid", nameof(FileNative.GroupEntry.Id)),
        ("offsetof(struct statx, stx_mode)", 28),
        ("offsetof(struct statx, stx_ino)", 32),
        ("offsetof(struct statx, stx_dev_major)", 136),
        ("offsetof(struct statx, stx_dev_minor)", 140),
    ];

    [Fact]
    public void Every_constant_and_layout_is_that_of_the_installed_headers()
    {
        using var directory = new TempDirectory();
        (string C, long Value)[] all = [.. s_constants, .. s_layout];
        var values = CompileAndRun(directory, all.Select(a => a.C));

        Assert.Equal(all.Length, values.Count);
        foreach (var ((c, ours), theirs) in all.Zip(values))
            Assert.True(theirs == ours || (theirs is null && s_younger[c] == ours), $"{c}: {ours}, header: {theirs}");
    }

    private static List<long?> CompileAndRun(TempDirectory directory, IEnumerable<string> expressions)
    {
        var program = new StringBuilder("""
            #define _GNU_SOURCE
            #include <errno.h>
            #include <fcntl.h>
            #include <grp.h>
            #include <linux/io_uring.h>
            #include <linux/sockios.h>
            #include <linux/tls.h>
            #include <netinet/in.h>
            #include <netinet/tcp.h>
            #include <poll.h>
            #include <stddef.h>
            #include <stdio.h>
            #include <sys/eventfd.h>
            #include <sys/file.h>
            #include <sys/ioctl.h>
            #include <sys/mman.h>
            #include <sys/resource.h>
            #include <sys/socket.h>
            #include <sys/stat.h>
            #include <sys/syscall.h>
            #include <sys/uio.h>
            #include <sys/un.h>
            #include <unistd.h>
            int main(void) {

            """);
        foreach (var expression in expressions)
        {
            var line = $"printf(\"%lld\\n\", (long long)({expression}));\n";
            program.Append(s_younger.ContainsKey(expression)
                ? $"#ifdef {expression}\n{line}#else\nputs(\"absent\");\n#endif\n"
                : line);
        }

        program.Append("return 0; }\n");
        File.WriteAllText(directory.File("abi.c"), program.ToString());
        Run("gcc", "-o", directory.File("abi"), directory.File("abi.c"));
        return [.. Run(directory.File("abi")).Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(l => l == "absent" ? (long?)null : long.Parse(l, CultureInfo.InvariantCulture))];
    }

    private static string Run(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments) { RedirectStandardOutput = true })!;
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
        return output;
    }

    private static (string, long) Size<T>(string c)
        where T : unmanaged => ($"sizeof({c})", Unsafe.SizeOf<T>());

    private static (string, long) At<T>(string c, string member, string field)
        where T : unmanaged => ($"offsetof({c}, {member})", (long)Marshal.OffsetOf<T>(field));
}
