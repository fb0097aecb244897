using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>
/// A network namespace in which each packet costs its sender milliseconds of CPU: packet sockets look at every
/// packet, each with a filter of thousands of instructions. Any process that may make a user namespace can do
/// this. The namespace lives as long as its sockets. Needs root, because the test's process has several threads.
/// </summary>
/// <remarks>
/// To make and to close thousands of filters holds up the whole machine for some hundred milliseconds, with or
/// without a daemon. So they are made before they see packets (<see cref="Begin"/>).
/// </remarks>
public sealed unsafe partial class CostlyNetwork : IDisposable
{
    private const int NewNetwork = 0x40000000; // CLONE_NEWNET
    private const int AfInet = 2;
    private const int AfPacket = 17;
    private const int SockDgram = 2;
    private const int AllProtocols = 0x0300; // htons(ETH_P_ALL)
    private const int SolSocket = 1;
    private const int SoAttachFilter = 26;
    private const int FilterInstructions = 2_000; // more would take more than net.core.optmem_max
    private const nuint SetInterfaceFlags = 0x8914; // SIOCSIFFLAGS
    private const short InterfaceIsUp = 0x41; // IFF_UP | IFF_RUNNING
    private const int FlagsOffset = 16; // in struct ifreq
    private const int RequestBytes = 40;
    private const int First = 8;
    private const int MostFilters = 2_000;
    private const int ThreadClock = 3; // CLOCK_THREAD_CPUTIME_ID

    private readonly List<int> _filters = [];
    private readonly List<(Socket Browser, Socket Server)> _pairs = [];

    /// <param name="pairs">TCP connections.</param>
    /// <param name="cost">CPU time of a send after <see cref="Begin"/>.</param>
    public CostlyNetwork(int pairs, TimeSpan cost)
    {
        Exception? failed = null;
        // The namespace is the thread's own, and no other thread may enter it.
        var thread = new Thread(() =>
        {
            try
            {
                Make(pairs, cost);
            }
            catch (Exception e)
            {
                failed = e;
            }
        });
        thread.Start();
        thread.Join();
        if (failed is null)
            return;
        Dispose();
        throw failed;
    }

    public IReadOnlyList<(Socket Browser, Socket Server)> Pairs => _pairs;

    /// <summary>Sockets that look at each packet.</summary>
    public int Filters => _filters.Count;

    /// <summary>From now on packets cost.</summary>
    public void Begin()
    {
        foreach (var filter in _filters)
            ShowPackets(filter);
    }

    /// <summary>Closes the filters first: packets that are sent later cost nothing.</summary>
    public void Dispose()
    {
        CloseFilters();
        foreach (var (browser, server) in _pairs)
        {
            browser.Dispose();
            server.Dispose();
        }
    }

    private void Make(int pairs, TimeSpan cost)
    {
        Check(Unshare(NewNetwork), "unshare");
        SetLoopbackUp();
        for (var i = 0; i < pairs; i++)
            _pairs.Add(TestClient.TcpPair());
        var (browser, server) = TestClient.TcpPair();
        using (browser)
        using (server)
        {
            server.NoDelay = true;
            AddFilters(First);
            _filters.ForEach(ShowPackets);
            var each = CostOfSend(server) / First;
            CloseFilters();
            AddFilters(Math.Min((int)(cost / each), MostFilters));
        }
    }

    private void CloseFilters()
    {
        foreach (var filter in _filters)
            _ = Posix.Close(filter);
        _filters.Clear();
    }

    /// <summary>The least of three: a send also handles the packets that wait on its core.</summary>
    private static TimeSpan CostOfSend(Socket socket)
    {
        const int Sends = 3;
        return Enumerable.Range(0, Sends).Min(_ =>
        {
            var begun = ThreadTime();
            socket.Send("x"u8);
            return ThreadTime() - begun;
        });
    }

    private void AddFilters(int count)
    {
        // struct sock_filter { u16 code; u8 jt, jf; u32 k; }
        var filter = stackalloc ulong[FilterInstructions];
        // BPF_LD | BPF_W | BPF_ABS of SKF_AD_OFF + SKF_AD_PAY_OFFSET: the packet is dissected each time.
        const ulong Dissect = 0xFFFFF034_00000000 | 0x20;
        const ulong DropPacket = 0x06; // BPF_RET | BPF_K
        for (var i = 0; i < FilterInstructions - 1; i++)
            filter[i] = Dissect;
        filter[FilterInstructions - 1] = DropPacket;
        var program = stackalloc nint[2] { FilterInstructions, (nint)filter };
        for (var i = 0; i < count; i++)
        {
            var fd = Check(NewSocket(AfPacket, SockDgram, 0), "socket");
            Check(SetSockOpt(fd, SolSocket, SoAttachFilter, program, 16), "SO_ATTACH_FILTER");
            _filters.Add(fd);
        }
    }

    private static void ShowPackets(int filter)
    {
        // struct sockaddr_ll
        var address = stackalloc ushort[10] { AfPacket, AllProtocols, 0, 0, 0, 0, 0, 0, 0, 0 };
        Check(Bind(filter, address, 20), "bind");
    }

    private static void SetLoopbackUp()
    {
        var request = stackalloc byte[RequestBytes];
        new Span<byte>(request, RequestBytes).Clear();
        "lo"u8.CopyTo(new Span<byte>(request, FlagsOffset));
        *(short*)(request + FlagsOffset) = InterfaceIsUp;
        var socket = Check(NewSocket(AfInet, SockDgram, 0), "socket");
        Check(Ioctl(socket, SetInterfaceFlags, request), "SIOCSIFFLAGS");
        _ = Posix.Close(socket);
    }

    private static TimeSpan ThreadTime()
    {
        const long NanosecondsPerTick = 100;
        var time = stackalloc long[2];
        Check(ClockGetTime(ThreadClock, time), "clock_gettime");
        return TimeSpan.FromSeconds(time[0]) + TimeSpan.FromTicks(time[1] / NanosecondsPerTick);
    }

    private static int Check(int result, string call) =>
        result >= 0 ? result : throw new PosixException(call, Marshal.GetLastPInvokeError());

    [LibraryImport("libc", EntryPoint = "unshare", SetLastError = true)]
    private static partial int Unshare(int flags);

    [LibraryImport("libc", EntryPoint = "socket", SetLastError = true)]
    private static partial int NewSocket(int family, int type, int protocol);

    [LibraryImport("libc", EntryPoint = "bind", SetLastError = true)]
    private static partial int Bind(int fd, void* address, uint length);

    [LibraryImport("libc", EntryPoint = "setsockopt", SetLastError = true)]
    private static partial int SetSockOpt(int fd, int level, int name, void* value, uint length);

    [LibraryImport("libc", EntryPoint = "ioctl", SetLastError = true)]
    private static partial int Ioctl(int fd, nuint request, void* argument);

    [LibraryImport("libc", EntryPoint = "clock_gettime", SetLastError = true)]
    private static partial int ClockGetTime(int clock, long* time);
}
