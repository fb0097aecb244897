using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary><c>struct iovec</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct IoVector
{
    public byte* Base;
    public nuint Length;
}

/// <summary><c>struct msghdr</c> (64-bit).</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MessageHeader
{
    public void* Name;
    public uint NameLength;
    public IoVector* Vectors;
    public nuint VectorCount;
    public void* Control;
    public nuint ControlLength;
    public int Flags;
}

/// <summary><c>struct cmsghdr</c> (64-bit); its data follows, aligned to 8 bytes.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ControlHeader
{
    public nuint Length;
    public int Level;
    public int Type;
}

/// <summary><c>struct pollfd</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PollEntry
{
    public int Fd;
    public short Events;
    public short Returned;
}

/// <summary><c>struct ucred</c>: effective ids.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PeerCredentials
{
    public int ProcessId;
    public int UserId;
    public int GroupId;
}

/// <summary><c>struct sockaddr_un</c>.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct UnixAddress
{
    /// <summary>Bytes of a path, without the terminating NUL that the kernel wants too.</summary>
    public const int MaxPathBytes = 107;

    public ushort Family;
    public fixed byte Path[MaxPathBytes + 1];
}

/// <summary>Constants of <c>&lt;sys/socket.h&gt;</c>, <c>&lt;poll.h&gt;</c> and friends, for Linux.</summary>
internal static class SocketConstants
{
    public const int AfUnix = 1;
    public const int AfInet = 2;
    public const int AfInet6 = 10;
    public const int SockStream = 1;
    public const int SockSeqPacket = 5;
    public const int SockNonBlock = 0x800;
    public const int SockCloExec = 0x80000;

    public const int SolSocket = 1;
    public const int SoType = 3;
    public const int SoError = 4;
    public const int SoSndBuf = 7;
    public const int SoOobInline = 10;
    public const int SoPeerCred = 17;
    public const int SoAcceptConn = 30;
    public const int SoLinger = 13;
    public const int SoPassCred = 16;
    public const int SoTimestamp = 29;
    public const int SoPassSec = 34;
    public const int SoTimestampNs = 35;
    public const int SoTimestamping = 37;
    public const int SoProtocol = 38;
    public const int SoSndTimeO = 21;
    public const int SoDomain = 39;
    public const int SoPeekOff = 42;
    public const int SoNetNsCookie = 71;

    /// <summary>6.5.</summary>
    public const int SoPassPidFd = 76;

    /// <summary>6.16. On by default.</summary>
    public const int SoPassRights = 83;

    /// <summary>6.17.</summary>
    public const int SoInq = 84;
    public const int IpProtoTcp = 6;

    /// <summary>Multipath TCP.</summary>
    public const int IpProtoMpTcp = 262;
    public const int TcpNoDelay = 1;

    /// <summary>Kernel TLS: linux/tls.h.</summary>
    public const int SolTls = 282;
    public const int TlsTx = 1;
    public const int TlsSetRecordType = 1;
    public const int ScmRights = 1;

    /// <summary>6.5: a descriptor of the sending process, pidfd_open(2).</summary>
    public const int ScmPidFd = 4;

    /// <summary>TIOCOUTQ of asm-generic/ioctls.h, on x86-64 and arm64.</summary>
    public const nuint SioCOutQ = 0x5411;
    public const nuint SioCInQ = 0x541B;

    public const int MsgPeek = 0x2;
    public const int MsgDontWait = 0x40;
    public const int MsgCTrunc = 0x8;
    public const int MsgTrunc = 0x20;
    public const int MsgNoSignal = 0x4000;
    public const int MsgCmsgCloExec = 0x40000000;

    public const uint PollIn = 0x1;
    public const uint PollOut = 0x4;
    public const uint PollErr = 0x8;
    public const uint PollHup = 0x10;
    public const uint PollRdHup = 0x2000;

    public const int ShutRd = 0;
    public const int ShutWr = 1;
    public const int EfdCloExec = 0x80000;
}

/// <summary>The errno values that this project tells apart (Linux, x86-64 and arm64).</summary>
internal static class Errno
{
    public const int Perm = 1;
    public const int NoEnt = 2;
    public const int Intr = 4;
    public const int Again = 11;
    public const int NoMem = 12;
    public const int Access = 13;
    public const int Busy = 16;
    public const int Exist = 17;
    public const int Inval = 22;
    public const int NFile = 23;
    public const int MFile = 24;
    public const int Pipe = 32;
    public const int Range = 34;
    public const int NoSys = 38;
    public const int Time = 62;
    public const int Prototype = 91;
    public const int AddrInUse = 98;
    public const int ConnAborted = 103;
    public const int ConnReset = 104;
    public const int NoBufs = 105;
    public const int TimedOut = 110;
    public const int ConnRefused = 111;
    public const int Canceled = 125;
}
