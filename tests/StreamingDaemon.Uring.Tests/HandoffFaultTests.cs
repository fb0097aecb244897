using System.Buffers;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Handoffs that are cut, late, or bring what is no client; the common ones are in
/// <see cref="HandoffServerTests"/>.</summary>
public sealed class HandoffFaultTests
{
    private static Task Answer(ClientStream client)
    {
        Encoding.UTF8.GetBytes(client.Admission.ToString(), client);
        client.Complete();
        return client.Ended.AsTask();
    }

    [Fact]
    public async Task File_in_the_place_of_a_client_is_refused_and_closed()
    {
        await using var server = await RunningServer.StartAsync(Answer);
        using var directory = new TempDirectory();
        var path = directory.File("file");
        using (var file = File.Open(path, FileMode.Create))
            TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)file.SafeFileHandle.DangerousGetHandle());

        await Eventually.TrueAsync(() => server.Rejections.Count == 1);

        Assert.Equal(HandoffRejection.NotAStreamSocket, server.Rejections[0]);
        await Eventually.TrueAsync(() => !OpenFiles().Contains(path));
    }

    private static IEnumerable<string?> OpenFiles() =>
        Directory.GetFileSystemEntries("/proc/self/fd").Select(entry =>
        {
            try
            {
                return new FileInfo(entry).LinkTarget;
            }
            catch (IOException)
            {
                return null;
            }
        });

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_left_before_its_handoff_ends_as_gone(bool tcp)
    {
        var ended = new TaskCompletionSource<ClientEnd>();
        await using var server = await RunningServer.StartAsync(
            async client => ended.TrySetResult(await client.Ended));
        var (browser, theirs) = Pair(tcp);
        browser.Dispose();
        await Eventually.TrueAsync(() => theirs.Poll(0, SelectMode.SelectRead));

        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)theirs.Handle);
        theirs.Dispose();

        Assert.Equal(ClientEnd.ClientGone, await ended.Task.WaitAsync(TestClient.Patience));
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
    }

    [Fact]
    public async Task Stream_socket_handoff_longer_than_accepted_is_marked_without_waiting_for_its_end()
    {
        await using var server = await RunningServer.StartAsync(
            Answer, options => options with { UseStreamSocket = true, MaxHandoffBytes = 100 });
        var (browser, theirs) = Posix.SocketPair();
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockStream);

        // An object that never ends, from a peer that stays.
        Posix.SendDescriptors(connection, [(byte)'{', .. new byte[100]], theirs);

        using var client = Posix.ToSocket(browser);
        Posix.Close(theirs);
        Assert.Equal("TooLarge", await TestClient.ReadTextAsync(client));
        Posix.Close(connection);
    }

    [Fact]
    public async Task Stream_socket_handoff_that_stops_halfway_is_dropped_after_the_timeout_and_its_client_closed()
    {
        await using var server = await RunningServer.StartAsync(
            Answer, options => options with { UseStreamSocket = true, HandoffTimeoutMs = 100 });
        var (browser, theirs) = Posix.SocketPair();
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockStream);

        Posix.SendDescriptors(connection, "{\"prompt\":"u8, theirs);
        Posix.Close(theirs);

        using var client = Posix.ToSocket(browser);
        Assert.Empty(await TestClient.ReadToEndAsync(client));
        await Eventually.TrueAsync(() => server.Rejections.Count == 1);
        Assert.Equal(HandoffRejection.TimedOut, server.Rejections[0]);
        Posix.Close(connection);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Peer_that_waits_for_the_end_of_its_connection_reads_it_and_no_reset(int type)
    {
        await using var server = await RunningServer.StartAsync(
            Answer, options => options with { UseStreamSocket = type == Posix.SockStream });
        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);
        using var connection = Posix.ToSocket(Posix.ConnectUnix(server.SocketPath, type));

        Posix.SendDescriptors((int)connection.Handle, "{}"u8, theirs);
        Posix.Close(theirs);

        Assert.Empty(await TestClient.ReadToEndAsync(connection));
        Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
    }

    [Fact]
    public async Task Peer_that_dies_after_it_sent_leaves_its_client_to_be_served()
    {
        var hold = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await hold.Task;
                await Answer(client);
            },
            // Taken in only after the peers are gone.
            options => options with { Budget = new(100_000, 100, 1, 1, 4, 100_000) });

        var clients = Enumerable.Range(0, 30).Select(_ => TestClient.HandOver(server.SocketPath, "{}")).ToList();
        hold.SetResult();

        foreach (var client in clients)
        {
            Assert.NotEmpty(await TestClient.ReadTextAsync(client));
            client.Dispose();
        }
    }

    [Fact]
    public async Task Thousands_that_connect_and_leave_are_counted_and_leave_nothing_open()
    {
        await using var server = await RunningServer.StartAsync(Answer);
        var before = OpenDescriptors.SocketsAndRings();

        for (var i = 0; i < 3000; i++)
            Posix.Close(Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket));

        await Eventually.TrueAsync(() => server.Server.Statistics.Rejected == 3000);
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
        using var client = TestClient.HandOver(server.SocketPath, "{}");
        Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
    }

    private static (Socket Browser, Socket Theirs) Pair(bool tcp)
    {
        if (tcp)
            return TestClient.TcpPair();
        var (left, right) = Posix.SocketPair();
        return (Posix.ToSocket(left), Posix.ToSocket(right));
    }
}
