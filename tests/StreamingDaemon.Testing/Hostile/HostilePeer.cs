using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>
/// A local process that may connect to the handoff socket and attacks the daemon. After each act, the daemon
/// has a descriptor whose close or use blocks until this object is disposed.
/// </summary>
public sealed partial class HostilePeer(string socketPath, int type = Posix.SockSeqPacket) : IDisposable
{
    private const int FarAwaySeconds = 60_000;
    private static readonly byte[] s_prompt = """{"prompt":"hostile","backend":"mock"}"""u8.ToArray();

    private readonly List<IDisposable> _held = [];

    /// <summary>The names of all acts.</summary>
    public static IReadOnlyList<string> Acts { get; } =
    [
        nameof(LingerInAnUnreadMessage), nameof(LingerSetLater), nameof(LingeringSurplus), nameof(LingerBehindAPipe),
        nameof(LingerInASecondMessage), nameof(LingerWithoutData), nameof(LargeFile), nameof(LargeFileAsSurplus),
        nameof(LockHeldAtTheHandoff), nameof(LockHeldLater), nameof(LockHeldAtTheEnd), nameof(ReaderThatStops),
        nameof(OddData), nameof(OddClient), nameof(OptionSetLater), nameof(DescriptorsFromAUnixClient),
        nameof(LingerWithAnUrgentByte), nameof(LockHeldOfItsEpoll),
        nameof(SignalsForTheDaemon), nameof(SameDescriptor250Times), nameof(SocketsInSockets),
        nameof(LockHeldOfMultipath), nameof(PacketsThatCompute), nameof(PacketsThatComputeLater),
        nameof(SurplusOfEveryKind), nameof(GarbageOfSockets),
    ];

    /// <summary>Called before each handoff of an act but its first.</summary>
    public Action? OnFurtherHandoff { get; init; }

    /// <summary>Commits an act.</summary>
    public Task CommitAsync(string act) => act switch
    {
        nameof(LingerInAnUnreadMessage) => LingerInAnUnreadMessage(),
        nameof(LingerSetLater) => LingerSetLater(),
        nameof(LingeringSurplus) => LingeringSurplus(),
        nameof(LingerBehindAPipe) => LingerBehindAPipe(),
        nameof(LingerInASecondMessage) => LingerInASecondMessage(),
        nameof(LingerWithoutData) => LingerWithoutData(),
        nameof(LargeFile) => LargeFile(),
        nameof(LargeFileAsSurplus) => LargeFileAsSurplus(),
        nameof(LockHeldAtTheHandoff) => LockHeldAtTheHandoff(),
        nameof(LockHeldLater) => LockHeldLater(),
        nameof(LockHeldAtTheEnd) => LockHeldAtTheEnd(),
        nameof(ReaderThatStops) => ReaderThatStops(),
        nameof(OddData) => OddData(),
        nameof(OddClient) => OddClient(),
        nameof(OptionSetLater) => OptionSetLater(),
        nameof(DescriptorsFromAUnixClient) => DescriptorsFromAUnixClient(),
        nameof(LingerWithAnUrgentByte) => LingerWithAnUrgentByte(),
        nameof(LockHeldOfItsEpoll) => LockHeldOfItsEpoll(),
        nameof(SignalsForTheDaemon) => SignalsForTheDaemon(),
        nameof(SameDescriptor250Times) => SameDescriptor250Times(),
        nameof(SocketsInSockets) => SocketsInSockets(),
        nameof(LockHeldOfMultipath) => LockHeldOfMultipath(),
        nameof(PacketsThatCompute) => PacketsThatCompute(),
        nameof(PacketsThatComputeLater) => PacketsThatComputeLater(),
        nameof(SurplusOfEveryKind) => SurplusOfEveryKind(),
        nameof(GarbageOfSockets) => GarbageOfSockets(),
        _ => throw new ArgumentException(act),
    };

    public void Dispose()
    {
        foreach (var held in Enumerable.Reverse(_held))
            held.Dispose();
    }

    /// <summary>The message may never be read: the peer is not allowed, or its connection ends
    /// first.</summary>
    private Task LingerInAnUnreadMessage()
    {
        var linger = Lingering();
        HandOver(s_prompt, linger);
        CloseAll([linger]);
        return Task.CompletedTask;
    }

    private async Task LingerSetLater()
    {
        var (browser, server) = SmallPair();
        Hold(browser);
        var ours = (int)server.Handle;
        HandOver(s_prompt, ours);
        // The answer has begun, so the daemon has checked the socket and found it good.
        await ReadSomeAsync(browser);
        Fill(server);
        server.LingerState = new LingerOption(true, FarAwaySeconds);
        CloseAll([Detach(server)]);
        browser.Shutdown(SocketShutdown.Send);
    }

    private Task LingeringSurplus()
    {
        var (left, right) = Posix.SocketPair();
        Hold(Posix.ToSocket(left));
        int[] surplus = [.. Enumerable.Range(0, 20).Select(_ => Lingering())];
        HandOver(s_prompt, [right, .. surplus]);
        CloseAll([right, .. surplus]);
        return Task.CompletedTask;
    }

    private Task LingerBehindAPipe()
    {
        var (read, write) = Posix.Pipe();
        var linger = Lingering();
        HandOver(s_prompt, read, linger);
        CloseAll([read, write, linger]);
        return Task.CompletedTask;
    }

    private Task LingerInASecondMessage()
    {
        var (left, right) = Posix.SocketPair();
        Hold(Posix.ToSocket(left));
        var connection = Posix.ConnectUnix(socketPath, type);
        var linger = Lingering();
        _ = Posix.SendDescriptors(connection, s_prompt, right);
        Try(() => Posix.SendDescriptors(connection, s_prompt, linger));
        CloseAll([connection, right, linger]);
        return Task.CompletedTask;
    }

    /// <summary>Half a handoff, if the socket is a stream socket: it times out.</summary>
    private Task LingerWithoutData()
    {
        var connection = Posix.ConnectUnix(socketPath, type);
        var linger = Lingering();
        _ = Posix.SendDescriptors(connection, "{"u8, linger);
        CloseAll([linger]);
        _held.Add(Posix.ToSocket(connection));
        return Task.CompletedTask;
    }

    private Task LargeFile()
    {
        var file = NewLargeFile();
        HandOver(s_prompt, file);
        _ = Posix.Close(file);
        return Task.CompletedTask;
    }

    private Task LargeFileAsSurplus()
    {
        var (left, right) = Posix.SocketPair();
        Hold(Posix.ToSocket(left));
        var file = NewLargeFile();
        HandOver(s_prompt, right, file);
        CloseAll([right, file]);
        return Task.CompletedTask;
    }

    private Task LockHeldAtTheHandoff()
    {
        var (browser, server) = TestClient.TcpPair();
        Hold(browser);
        Hold(server);
        _held.Add(new HeldLock((int)server.Handle));
        HandOver(s_prompt, (int)server.Handle);
        return Task.CompletedTask;
    }

    private async Task LockHeldLater()
    {
        var (browser, server) = TestClient.TcpPair();
        Hold(browser);
        Hold(server);
        HandOver(s_prompt, (int)server.Handle);
        await ReadSomeAsync(browser);
        _held.Add(new HeldLock((int)server.Handle));
    }

    /// <summary>Holds the lock at the end of the stream: at its shutdown, the reads after it, its
    /// close.</summary>
    private async Task LockHeldAtTheEnd()
    {
        var (browser, server) = TestClient.TcpPair();
        Hold(browser);
        Hold(server);
        HandOver("""{"prompt":"","backend":"mock"}"""u8, (int)server.Handle);
        await TestClient.ReadUntilAsync(browser, "message 17");
        _held.Add(new HeldLock((int)server.Handle));
    }

    private Task ReaderThatStops()
    {
        var (browser, server) = SmallPair();
        Hold(browser);
        Fill(server);
        server.LingerState = new LingerOption(true, FarAwaySeconds);
        HandOver(s_prompt, (int)server.Handle);
        server.LingerState = new LingerOption(true, FarAwaySeconds);
        CloseAll([Detach(server)]);
        return Task.CompletedTask;
    }

    /// <summary>Data in descriptors that are no sealed memory. Each gets its error.</summary>
    private async Task OddData()
    {
        const int Refused = 13; // "HTTP/1.1 400 ", with the space behind it
        var isFirst = true;
        foreach (var (line, descriptors) in OddDescriptors.All())
        {
            if (!isFirst)
                OnFurtherHandoff?.Invoke();
            isFirst = false;
            var (browser, theirs) = TestClient.TcpPair();
            using (browser)
            {
                HandOver(Encoding.ASCII.GetBytes(line), [(int)theirs.Handle, .. descriptors]);
                theirs.Dispose();
                CloseAll(descriptors);
                var answer = await TestClient.ReadTextAsync(browser);
                if (answer.Length < Refused || answer[..Refused] is not ("HTTP/1.1 400 " or "HTTP/1.1 413 "))
                    throw new InvalidOperationException($"{line} was answered with: {answer}");
            }
        }
    }

    /// <summary>Descriptors that are no client, as the client and as surplus.</summary>
    private Task OddClient()
    {
        var isFirst = true;
        foreach (var odd in OddClients.All())
        {
            var (left, right) = Posix.SocketPair();
            Hold(Posix.ToSocket(left));
            if (!isFirst)
                OnFurtherHandoff?.Invoke();
            isFirst = false;
            HandOver(s_prompt, odd);
            OnFurtherHandoff?.Invoke();
            HandOver(s_prompt, right, odd, odd, odd);
            CloseAll([right, odd]);
        }

        return Task.CompletedTask;
    }

    /// <summary>The socket was good when it was checked, and is changed while it serves a stream.</summary>
    private async Task OptionSetLater()
    {
        for (var which = 0; which < OddOptions.Count; which++)
        {
            var (browser, server) = TestClient.TcpPair();
            Hold(browser);
            Hold(server);
            if (which > 0)
                OnFurtherHandoff?.Invoke();
            HandOver(s_prompt, (int)server.Handle);
            await ReadSomeAsync(browser);
            OddOptions.Change(browser, server, which);
        }
    }

    /// <summary>A descriptor whose last close blocks: its send queue is full, and nobody reads.</summary>
    private int Lingering()
    {
        var (browser, server) = SmallPair();
        Hold(browser);
        Fill(server);
        server.LingerState = new LingerOption(true, FarAwaySeconds);
        return Detach(server);
    }

    private static (Socket Browser, Socket Server) SmallPair()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        var browser = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        {
            ReceiveBufferSize = 2048,
        };
        browser.Connect(listener.LocalEndPoint!);
        return (browser, listener.Accept());
    }

    private static void Fill(Socket server)
    {
        server.Blocking = false;
        var bytes = new byte[64 * 1024];
        Try(() =>
        {
            while (true)
                _ = server.Send(bytes);
        });
        server.Blocking = true;
    }

    private static int NewLargeFile()
    {
        var fd = MemfdCreate("large", 1);
        if (fd < 0 || Fallocate(fd, 0, 0, 256L << 20) < 0)
            throw new PosixException("memfd_create", Marshal.GetLastPInvokeError());
        return fd;
    }

    private static async Task ReadSomeAsync(Socket browser) =>
        await browser.ReceiveAsync(new byte[512]).WaitAsync(TestClient.Patience);

    private void HandOver(ReadOnlySpan<byte> data, params ReadOnlySpan<int> descriptors)
    {
        var connection = Posix.ConnectUnix(socketPath, type);
        _ = Posix.SendDescriptors(connection, data, descriptors);
        _ = Posix.Close(connection);
    }

    private void Hold(IDisposable held) => _held.Add(held);

    /// <summary>Closes each on a separate thread: if the daemon closed its copy first, this close blocks.
    /// </summary>
    private static void CloseAll(IEnumerable<int> descriptors)
    {
        foreach (var fd in descriptors)
            new Thread(() => Posix.Close(fd)) { IsBackground = true }.Start();
    }

    private static int Detach(Socket socket)
    {
        var fd = Posix.Duplicate((int)socket.Handle);
        socket.Dispose();
        return fd;
    }

    private static void Try(Action act)
    {
        try
        {
            act();
        }
        catch (Exception e) when (e is SocketException or PosixException)
        {
            // The queue is full, or the daemon has closed the connection.
        }
    }

    [LibraryImport("libc", EntryPoint = "memfd_create", SetLastError = true,
        StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MemfdCreate(string name, uint flags);

    [LibraryImport("libc", EntryPoint = "fallocate", SetLastError = true)]
    private static partial int Fallocate(int fd, int mode, long offset, long length);
}
