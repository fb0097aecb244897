using System.Buffers;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Several loops are one server: no client can tell which of them serves it.</summary>
public sealed class SeveralRingsTests
{
    private const int Rings = 3;

    private static Task<RunningServer> StartAsync(Func<ClientStream, Task> handle,
        Func<HandoffServerOptions, HandoffServerOptions>? with = null) => RunningServer.StartAsync(
            handle, options => (with?.Invoke(options) ?? options) with { Rings = Rings });

    private static async Task EchoAsync(ClientStream client)
    {
        client.Write(client.HandoffData);
        await client.FlushAsync();
        client.Complete();
    }

    private static async Task BeginAndStayAsync(ClientStream client)
    {
        client.Write("begun"u8);
        await client.FlushAsync();
        await client.Ended;
    }

    private static List<Socket> HandOver(RunningServer server, int count) =>
        [.. Enumerable.Range(0, count).Select(i => TestClient.HandOver(server.SocketPath, $"{i}"))];

    [Fact]
    public async Task Clients_go_to_the_loop_that_has_the_fewest()
    {
        await using var server = await StartAsync(BeginAndStayAsync);

        var clients = HandOver(server, 30);
        await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == 30 * 5);
        Assert.Equal([10, 10, 10], server.Server.Loads);

        // A client that leaves makes room on its loop, and the next one is sent there.
        foreach (var client in clients.Take(12))
            client.Dispose();
        await Eventually.TrueAsync(() => server.Server.Loads.Sum() == 18);
        clients.AddRange(HandOver(server, 3));
        await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == 33 * 5);
        Assert.Equal([7, 7, 7], server.Server.Loads);

        clients.ForEach(c => c.Dispose());
        await Eventually.TrueAsync(() => server.Server.Loads.Sum() == 0);
    }

    [Fact]
    public async Task Each_client_of_a_burst_gets_its_own_answer()
    {
        await using var server = await StartAsync(EchoAsync);

        var clients = HandOver(server, 2_000);

        for (var i = 0; i < clients.Count; i++)
        {
            Assert.Equal($"{i}", await TestClient.ReadTextAsync(clients[i]));
            clients[i].Dispose();
        }

        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        Assert.Equal(2_000, server.Server.Statistics.Started);
        Assert.Equal([0, 0, 0], server.Server.Loads);
    }

    [Fact]
    public async Task Limit_of_connections_is_that_of_all_loops_and_a_place_on_any_serves_who_waits()
    {
        await using var server = await StartAsync(
            client => client.Admission == HandoffAdmission.Admitted ? BeginAndStayAsync(client) : client.Ended.AsTask(),
            options => options with
            {
                Budget = new(1_000_000, 100, MaxConnections: 4, Refusals: 2, Handoffs: 8, 1_000_000),
            });
        // Four are served, two are refused and take their time, and three wait for a place.
        var clients = HandOver(server, 9);
        await Eventually.TrueAsync(() => server.Server.Statistics is { BytesSent: 4 * 5, Started: 6, Accepted: 9 });
        Assert.Equal(4, server.Server.Statistics.ActiveConnections);
        Assert.Equal([2, 2, 2], server.Server.Loads);

        // The first loop, which accepts, sees neither of them leave.
        clients[1].Dispose();
        clients[2].Dispose();

        await Eventually.TrueAsync(() => server.Server.Statistics is { BytesSent: 6 * 5, Started: 8 });
        Assert.Equal((4, 4), (server.Server.Statistics.ActiveConnections, server.Server.Statistics.PeakConnections));
        Assert.Empty(server.Rejections);
        clients.ForEach(c => c.Dispose());
    }

    [Fact]
    public async Task Drain_ends_when_the_last_client_of_every_loop_has_ended()
    {
        var release = new TaskCompletionSource();
        await using var server = await StartAsync(async client =>
        {
            await release.Task;
            await EchoAsync(client);
        });
        var clients = HandOver(server, 50);

        server.Server.BeginDrain();
        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 50);
        Assert.False(server.Server.Completion.IsCompleted);
        Assert.True(await server.Server.IsTurningAsync(TestClient.Patience));
        release.SetResult();

        for (var i = 0; i < clients.Count; i++)
        {
            Assert.Equal($"{i}", await TestClient.ReadTextAsync(clients[i]));
            clients[i].Dispose();
        }

        await server.Server.Completion.WaitAsync(TestClient.Patience);
        Assert.False(await server.Server.IsTurningAsync(TestClient.Patience));
    }

    [Fact]
    public async Task Stop_closes_the_clients_of_every_loop_and_leaves_nothing_open()
    {
        var before = OpenDescriptors.SocketsAndRings();
        await using (var server = await StartAsync(BeginAndStayAsync))
        {
            var clients = HandOver(server, 90);
            await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == 90 * 5);

            server.Server.Stop();

            await server.Server.Completion.WaitAsync(TestClient.Patience);
            foreach (var client in clients)
            {
                Assert.Equal("begun", await TestClient.ReadTextAsync(client));
                client.Dispose();
            }
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Theory]
    [InlineData("io_uring loop")]
    [InlineData("io_uring loop 3")]
    public async Task Ring_that_fails_ends_the_server_and_every_client_with_it(string name)
    {
        var before = OpenDescriptors.SocketsAndRings();
        var fails = false;
        var server = await StartAsync(BeginAndStayAsync, options => options with
        {
            RingFault = (in EnterCall call) => Volatile.Read(ref fails) && Thread.CurrentThread.Name == name
                ? -Errno.NoMem
                : call.Proceed(),
        });
        var clients = HandOver(server, 30);
        await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == 30 * 5);

        Volatile.Write(ref fails, true);
        // Wakes every loop: the one that is to fail may have turned before it does.
        await server.Server.IsTurningAsync(TestClient.Patience);

        await Assert.ThrowsAsync<HandoffServerException>(() => server.Server.Completion.WaitAsync(TestClient.Patience));
        foreach (var client in clients)
        {
            Assert.StartsWith(Encoding.UTF8.GetString(await TestClient.ReadToEndAsync(client)), "begun",
                StringComparison.Ordinal);
            client.Dispose();
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Fact]
    public async Task Socket_that_is_refused_leaves_no_loop_behind()
    {
        var before = OpenDescriptors.SocketsAndRings();
        using var directory = new TempDirectory();
        var path = directory.File("s");
        await File.WriteAllTextAsync(path, "no socket");
        var server = new HandoffServer(new HandoffServerOptions { SocketPath = path, Rings = Rings }, new NoHandler());

        await Assert.ThrowsAsync<HandoffServerException>(server.StartAsync);

        await Assert.ThrowsAsync<HandoffServerException>(() => server.Completion.WaitAsync(TestClient.Patience));
        Assert.False(server.HasStarted);
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    private sealed class NoHandler : IHandoffHandler
    {
        public Task HandleAsync(ClientStream client) => throw new InvalidOperationException("nobody is to come");

        public void OnFault(ClientStream client, Exception exception) => throw exception;

        public void OnRejected(HandoffRejection reason, HandoffPeer peer) =>
            throw new InvalidOperationException("nobody is to come");
    }
}
