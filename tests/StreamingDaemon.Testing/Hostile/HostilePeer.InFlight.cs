using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

// Acts whose descriptors are released by a read, or all at once.
public sealed partial class HostilePeer
{
    /// <summary>Sockets of one act: with four acts, more than the daemon has threads for.</summary>
    public const int SocketsOfAnEpoll = 20;

    /// <summary>What the client itself sends holds descriptors: dropping it releases them.</summary>
    private async Task DescriptorsFromAUnixClient()
    {
        var (left, right) = Posix.SocketPair();
        var browser = Posix.ToSocket(left);
        Hold(browser);
        var linger = Lingering();
        var file = NewLargeFile();
        HandOver(s_prompt, right);
        await ReadSomeAsync(browser);
        _ = Posix.SendDescriptors(left, "x"u8, linger, file);
        CloseAll([right, linger, file]);
    }

    /// <summary>An urgent byte, in the middle of a handoff. Only a stream socket has those.</summary>
    private Task LingerWithAnUrgentByte()
    {
        var (left, right) = Posix.SocketPair();
        Hold(Posix.ToSocket(left));
        var linger = Lingering();
        var connection = Posix.ConnectUnix(socketPath, type);
        _ = Posix.SendDescriptors(connection, "{"u8, right);
        Try(() => Posix.SendUrgentDescriptors(connection, (byte)' ', linger));
        Try(() => Posix.SendDescriptors(connection, "}"u8));
        CloseAll([connection, right, linger]);
        return Task.CompletedTask;
    }

    /// <summary>The kernel signals the owner of a socket whenever it is ready.</summary>
    private async Task SignalsForTheDaemon()
    {
        var (browser, server) = TestClient.TcpPair();
        Hold(browser);
        Hold(server);
        var connection = Posix.ConnectUnix(socketPath, type);
        var daemon = Posix.ListenerOf(connection);
        _ = Posix.SendDescriptors(connection, s_prompt, (int)server.Handle);
        _ = Posix.Close(connection);
        await ReadSomeAsync(browser);
        Posix.SignalWhenReady((int)server.Handle, daemon);
        browser.Send("ready"u8);
    }

    /// <summary>The last close of a socket takes it out of each epoll, and waits for that one's lock.</summary>
    private async Task LockHeldOfItsEpoll()
    {
        var browsers = new List<Socket>();
        var servers = new List<Socket>();
        for (var i = 0; i < SocketsOfAnEpoll; i++)
        {
            var (browser, server) = TestClient.TcpPair();
            browsers.Add(browser);
            servers.Add(server);
            if (i > 0)
                OnFurtherHandoff?.Invoke();
            HandOver(s_prompt, (int)server.Handle);
        }

        foreach (var browser in browsers)
            await ReadSomeAsync(browser);
        _held.Add(HeldLock.OfEpollOf(servers.Select(server => (int)server.Handle)));
        // Not the last close: the daemon has the socket, too. Its own is the last.
        servers.ForEach(server => server.Dispose());
        browsers.ForEach(browser => browser.Dispose());
    }

    /// <summary>One lingering socket, as the client and as each surplus descriptor.</summary>
    private Task SameDescriptor250Times()
    {
        var linger = Lingering();
        HandOver(s_prompt, [.. Enumerable.Repeat(linger, 250)]);
        CloseAll([linger]);
        return Task.CompletedTask;
    }

    /// <summary>A surplus socket whose queue holds a socket whose queue holds a socket, and so on: its last close
    /// is the last close of all. And a Unix client that is sent to itself, which only the kernel's collector
    /// frees.</summary>
    private async Task SocketsInSockets()
    {
        const int Levels = 100;
        var inner = Lingering();
        for (var level = 0; level < Levels; level++)
        {
            var (near, far) = Posix.SocketPair();
            var content = inner;
            // Older kernels allow four levels.
            Try(() => Posix.SendDescriptors(near, "x"u8, content));
            CloseAll([near, content]);
            inner = far;
        }

        var (left, right) = Posix.SocketPair();
        HandOver(s_prompt, right, inner);
        CloseAll([inner]);
        var browser = Posix.ToSocket(Posix.Duplicate(left));
        Hold(browser);
        await ReadSomeAsync(browser);
        Try(() => Posix.SendDescriptors(left, "x"u8, left, right));
        CloseAll([left, right]);
    }

    /// <summary>Of a Multipath TCP socket: some of its calls take the lock although TCP's do not.</summary>
    private async Task LockHeldOfMultipath()
    {
        if (!Posix.TryMultipathPair(out var near, out var far))
            return;
        var browser = Posix.ToSocket(near);
        Hold(browser);
        HandOver(s_prompt, far);
        Hold(Posix.ToSocket(far));
        await ReadSomeAsync(browser);
        _held.Add(new HeldLock(far));
    }

    /// <summary>As many surplus descriptors of every kind as a message takes.</summary>
    private Task SurplusOfEveryKind()
    {
        const int Most = 253; // SCM_MAX_FD
        var (left, right) = Posix.SocketPair();
        Hold(Posix.ToSocket(left));
        int[] kinds = [.. OddClients.All()];
        int[] surplus = [.. Enumerable.Range(0, Most - 1).Select(i => kinds[i % kinds.Length])];
        HandOver(s_prompt, [right, .. surplus]);
        CloseAll([right, .. kinds]);
        return Task.CompletedTask;
    }

    /// <summary>Hundreds of sockets that are held only by messages in their own queues. If a Unix socket is
    /// closed, the kernel's garbage collector looks through all of them. The messages hold the client too.</summary>
    private async Task GarbageOfSockets()
    {
        const int Pairs = 500;
        var (browserFd, client) = Posix.SocketPair();
        var browser = Posix.ToSocket(browserFd);
        Hold(browser);
        for (var i = 0; i < Pairs; i++)
        {
            var (left, right) = Posix.SocketPair();
            Try(() => Posix.SendDescriptors(left, "x"u8, left, right, client));
            _ = Posix.Close(left);
            _ = Posix.Close(right);
        }

        HandOver(s_prompt, client);
        _ = Posix.Close(client);
        await ReadSomeAsync(browser);
    }
}
