using System.Buffers;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class HandoffServerTests
{
    private static async Task Echo(ClientStream client)
    {
        client.Write(client.HandoffData);
        await client.FlushAsync();
        client.Complete();
    }

    [Fact]
    public async Task Handoff_without_any_data_is_served()
    {
        await using var server = await RunningServer.StartAsync(client =>
        {
            Assert.Equal(0, client.HandoffData.Length);
            Encoding.UTF8.GetBytes("no data", client);
            client.Complete();
            return Task.CompletedTask;
        });
        var (browser, theirs) = Posix.SocketPair();
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket);
        Assert.Equal(0, Posix.SendDescriptors(connection, [], theirs));
        Posix.Close(connection);
        Posix.Close(theirs);

        using var client = Posix.ToSocket(browser);
        Assert.Equal("no data", await TestClient.ReadTextAsync(client));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(4095)]
    [InlineData(4096)]
    [InlineData(65536)]
    [InlineData(212_960)]
    public async Task Handoff_data_of_any_size_arrives_whole_and_goes_out_whole(int size)
    {
        await using var server = await RunningServer.StartAsync(Echo);
        var data = new byte[size];
        new Random(size).NextBytes(data);

        using var client = TestClient.HandOver(server.SocketPath, data);

        Assert.Equal(data, await TestClient.ReadToEndAsync(client));
    }

    [Fact]
    public async Task Handoff_longer_than_accepted_is_marked_and_cut()
    {
        HandoffAdmission? admission = null;
        await using var server = await RunningServer.StartAsync(
            client =>
            {
                admission = client.Admission;
                return Echo(client);
            },
            options => options with { MaxHandoffBytes = 100 });

        using var client = TestClient.HandOver(server.SocketPath, new byte[101]);

        Assert.Equal(100, (await TestClient.ReadToEndAsync(client)).Length);
        Assert.Equal(HandoffAdmission.TooLarge, admission);
    }

    [Fact]
    public async Task Tokens_arrive_in_order_and_none_is_lost_however_they_are_cut()
    {
        await using var server = await RunningServer.StartAsync(async client =>
        {
            for (var i = 0; i < 2000; i++)
            {
                Encoding.UTF8.GetBytes($"{i}\n", client);
                await client.FlushAsync();
            }

            client.Complete();
        });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        var expected = string.Concat(Enumerable.Range(0, 2000).Select(i => $"{i}\n"));
        Assert.Equal(expected, await TestClient.ReadTextAsync(client));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_leaves_cancels_its_producer_though_nothing_is_written(bool tcp)
    {
        var cancelled = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(async client =>
        {
            client.Cancelled.Register(() => cancelled.TrySetResult());
            await cancelled.Task;
        });

        var client = tcp
            ? TestClient.HandOverTcp(server.SocketPath, "{}")
            : TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 1);
        Assert.False(cancelled.Task.IsCompleted);
        client.Dispose();

        await cancelled.Task.WaitAsync(TestClient.Patience);
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
    }

    [Fact]
    public async Task Client_that_never_reads_pauses_its_producer_below_the_pending_limit_and_is_dropped()
    {
        long written = 0;
        ClientEnd? end = null;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                while (await client.WriteAndFlushAsync(new byte[1000]))
                    Interlocked.Add(ref written, 1000);
                end = await client.Ended;
            },
            options => options with { WriteTimeoutMs = 300, MaxPendingBytes = 20_000 });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        await Eventually.TrueAsync(() => end is not null);
        Assert.Equal(ClientEnd.SlowClient, end);
        var received = (await TestClient.ReadToEndAsync(client)).Length;
        // What the kernel took, and the limit with one write above it.
        Assert.InRange(Interlocked.Read(ref written), received, received + 22_000);
    }

    [Fact]
    public async Task Slow_client_gets_every_byte_through_backpressure()
    {
        var data = new byte[3_000_000];
        new Random(1).NextBytes(data);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                Assert.True(await client.WriteAndFlushAsync(data));
                client.Complete();
            },
            options => options with { MaxPendingBytes = 20_000 });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal(data, await TestClient.ReadToEndAsync(client));
    }

    [Fact]
    public async Task Unread_request_bytes_do_not_reset_the_end_of_the_answer()
    {
        var (browser, serverEnd) = TestClient.TcpPair();
        browser.Send(new byte[100_000]);
        await using var server = await RunningServer.StartAsync(Echo);

        TestClient.HandOverDescriptor(server.SocketPath, "an answer"u8, (int)serverEnd.Handle);
        serverEnd.Dispose();

        Assert.Equal("an answer", await TestClient.ReadTextAsync(browser));
        browser.Dispose();
    }

    [Fact]
    public async Task Descriptors_that_are_no_connected_stream_socket_are_refused_and_closed()
    {
        await using var server = await RunningServer.StartAsync(Echo);
        var (pipeRead, pipeWrite) = Posix.Pipe();
        var (datagram, datagramPeer) = Posix.SocketPair(Posix.SockDgram);
        var (packet, packetPeer) = Posix.SocketPair(Posix.SockSeqPacket);
        var unconnected = Posix.NewSocket(2, Posix.SockStream);
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
        listener.Listen();
        var before = OpenDescriptors.SocketsAndRings();

        foreach (var fd in new[] { pipeRead, datagram, packet, unconnected, (int)listener.Handle })
            TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, fd);

        await Eventually.TrueAsync(() => server.Rejections.Count == 5);
        Assert.All(server.Rejections, r => Assert.Equal(HandoffRejection.NotAStreamSocket, r));
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
        foreach (var fd in new[] { pipeRead, pipeWrite, datagram, datagramPeer, packet, packetPeer, unconnected })
            Assert.Equal(0, Posix.Close(fd));
    }

    [Theory]
    [InlineData(2)]
    [InlineData(250)]
    public async Task Surplus_descriptors_are_closed_and_the_first_is_served(int count)
    {
        await using var server = await RunningServer.StartAsync(Echo);
        var before = OpenDescriptors.SocketsAndRings();
        var (browser, theirs) = Posix.SocketPair();
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket);
        Posix.SendDescriptors(connection, "{}"u8, Enumerable.Repeat(theirs, count).ToArray());
        Posix.Close(connection);
        Posix.Close(theirs);

        using (var client = Posix.ToSocket(browser))
            Assert.Equal("{}", await TestClient.ReadTextAsync(client));

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Fact]
    public async Task Handoff_without_a_descriptor_and_one_that_never_comes_are_rejected()
    {
        await using var server = await RunningServer.StartAsync(
            Echo, options => options with { HandoffTimeoutMs = 100 });
        var noDescriptor = Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket);
        Posix.SendDescriptors(noDescriptor, "{}"u8);
        var silent = Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket);
        Posix.Close(Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket));

        await Eventually.TrueAsync(() => server.Rejections.Count == 3);

        Assert.Equal(
            [HandoffRejection.NoDescriptor, HandoffRejection.TimedOut, HandoffRejection.PeerClosed],
            server.Rejections.Order());
        Posix.Close(noDescriptor);
        Posix.Close(silent);
    }

    [Fact]
    public async Task Client_over_capacity_is_admitted_only_to_be_told_so()
    {
        var hold = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                if (client.Admission == HandoffAdmission.Admitted)
                    await hold.Task;
                Encoding.UTF8.GetBytes(client.Admission.ToString(), client);
                client.Complete();
            },
            options => options with { MaxConnections = 1 });

        using var first = TestClient.HandOver(server.SocketPath, "{}");
        using var second = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal("OverCapacity", await TestClient.ReadTextAsync(second));
        hold.SetResult();
        Assert.Equal("Admitted", await TestClient.ReadTextAsync(first));
    }

    [Fact]
    public async Task Handler_that_throws_leaves_no_client_hanging()
    {
        await using var server = await RunningServer.StartAsync(_ => throw new InvalidOperationException("oops"));

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Empty(await TestClient.ReadToEndAsync(client));
        Assert.Equal("oops", Assert.Single(server.Faults).Message);
    }

    [Fact]
    public async Task Drain_serves_what_is_queued_and_running_and_then_ends()
    {
        var release = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(async client =>
        {
            await release.Task;
            await Echo(client);
        });
        var clients = Enumerable.Range(0, 50)
            .Select(i => TestClient.HandOver(server.SocketPath, $"answer {i}"))
            .ToList();

        server.Server.BeginDrain();
        await Eventually.TrueAsync(() => !File.Exists(server.SocketPath));
        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 50);
        Assert.False(server.Server.Completion.IsCompleted);
        release.SetResult();

        for (var i = 0; i < clients.Count; i++)
        {
            Assert.Equal($"answer {i}", await TestClient.ReadTextAsync(clients[i]));
            clients[i].Dispose();
        }

        await server.Server.Completion.WaitAsync(TestClient.Patience);
    }

    [Fact]
    public async Task Stream_socket_handoff_in_single_bytes_is_whole_at_the_end_of_its_json()
    {
        await using var server = await RunningServer.StartAsync(
            Echo, options => options with { UseStreamSocket = true });
        const string Json = """{"prompt":"a \"}\" in a string","messages":[{"role":"user"}]}""";
        var (browser, theirs) = Posix.SocketPair();
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockStream);

        var bytes = Encoding.UTF8.GetBytes(Json);
        for (var i = 0; i < bytes.Length; i++)
        {
            if (i == 0)
                Posix.SendDescriptors(connection, bytes.AsSpan(i, 1), theirs);
            else
                Posix.SendDescriptors(connection, bytes.AsSpan(i, 1));
        }

        Posix.Close(theirs);
        using var client = Posix.ToSocket(browser);
        Assert.Equal(Json, await TestClient.ReadTextAsync(client));
        Posix.Close(connection);
    }

    [Fact]
    public async Task Stream_socket_handoff_that_is_no_json_is_whole_at_the_end_of_the_connection()
    {
        await using var server = await RunningServer.StartAsync(
            Echo, options => options with { UseStreamSocket = true });

        using var client = TestClient.HandOver(server.SocketPath, "no json", Posix.SockStream);

        Assert.Equal("no json", await TestClient.ReadTextAsync(client));
    }

    [Fact]
    public async Task Loop_says_that_it_turns_until_it_has_ended()
    {
        var server = await RunningServer.StartAsync(Echo);
        Assert.True(await server.Server.IsTurningAsync(TestClient.Patience));

        await server.DisposeAsync();

        Assert.False(await server.Server.IsTurningAsync(TimeSpan.FromSeconds(1)));
    }
}

internal static class ClientStreamExtensions
{
    public static ValueTask<bool> WriteAndFlushAsync(this ClientStream client, byte[] data)
    {
        client.Write(data);
        return client.FlushAsync();
    }
}
