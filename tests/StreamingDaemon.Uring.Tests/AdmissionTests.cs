using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class AdmissionTests
{
    private static Task SayAdmission(ClientStream client)
    {
        Encoding.UTF8.GetBytes(client.Admission.ToString(), client);
        client.Complete();
        return Task.CompletedTask;
    }

    /// <summary>What the runtime and the assertions open on first use is open then: there is no place for it
    /// in a full table.</summary>
    private static async Task WarmAsync(RunningServer server, int type)
    {
        using var warm = TestClient.HandOver(server.SocketPath, "{}", type);
        Assert.Equal("Admitted", await TestClient.ReadTextAsync(warm));
        Assert.Equal((1L, 0), (server.Server.Statistics.Started, warm.Available));
        Assert.Equal(1, server.Server.Statistics.Accepted);
        Assert.Empty(server.Rejections);
    }

    private static DescriptorBudget Budget(int connections, int refusals, int handoffs) =>
        new(Limit: 1_000_000, Own: 100, connections, refusals, handoffs, Wanted: 1_000_000);

    [Fact]
    public void Budget_never_spends_more_than_the_limit_and_gives_all_that_is_asked_where_it_can()
    {
        var random = new Random(3);
        for (var i = 0; i < 20_000; i++)
        {
            var options = new HandoffServerOptions
            {
                SocketPath = "s",
                MaxConnections = random.Next(1, 1_000_001),
                DescriptorsPerConnection = random.Next(1, 3),
            };
            var open = random.Next(20, 400);
            var limit = (long)Math.Exp(random.NextDouble() * Math.Log(2_000_000));
            var budget = DescriptorBudget.Share(options, limit, open);
            if (!budget.Suffices)
            {
                Assert.True(limit < open + 200 + (limit / 64), $"{budget}");
                continue;
            }

            var spent = budget.Own + ((long)budget.MaxConnections * options.DescriptorsPerConnection)
                + budget.Refusals + (2L * budget.Handoffs);
            Assert.True(spent <= limit, $"{budget} for {options.MaxConnections}");
            Assert.True(budget is { MaxConnections: > 0, Refusals: > 0, Handoffs: > 0 }, $"{budget}");
            Assert.Equal(options.MaxConnections,
                DescriptorBudget.Share(options, budget.Wanted + 1, open).MaxConnections);
        }
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Handoffs_for_which_there_is_no_memory_wait_and_are_served_when_there_is(int type)
    {
        const int timeoutMs = 100;
        var hasMemory = false;
        var asked = 0;
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            UseStreamSocket = type == Posix.SockStream,
            HandoffTimeoutMs = timeoutMs,
            MayMapHandoffs = () =>
            {
                Interlocked.Increment(ref asked);
                return Volatile.Read(ref hasMemory);
            },
        });
        var started = Environment.TickCount64;

        var clients = Enumerable.Range(0, 20)
            .Select(_ => TestClient.HandOver(server.SocketPath, "{}", type)).ToList();
        // Longer than a peer may keep us waiting.
        await Eventually.TrueAsync(() => Volatile.Read(ref asked) >= 3
            && Environment.TickCount64 - started > 3 * timeoutMs);
        Volatile.Write(ref hasMemory, true);

        foreach (var client in clients)
        {
            Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
            client.Dispose();
        }

        Assert.Empty(server.Rejections);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Handoffs_that_wait_for_memory_do_not_hold_a_stop(int type)
    {
        await using var server = await RunningServer.StartAsync(SayAdmission,
            options => options with { UseStreamSocket = type == Posix.SockStream, MayMapHandoffs = () => false });
        using var client = TestClient.HandOver(server.SocketPath, "{}", type);
        await Eventually.TrueAsync(() => server.Server.Statistics.Accepted == 1);

        server.Server.Stop();

        await server.Server.Completion.WaitAsync(TestClient.Patience);
        await Eventually.TrueAsync(() => server.Rejections.Count == 1);
        Assert.Equal([HandoffRejection.ServerStopped], server.Rejections);
    }

    [Fact]
    public async Task Refusals_beyond_their_slots_are_told_in_turn_and_none_reads_an_empty_answer()
    {
        var hold = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                if (client.Admission == HandoffAdmission.Admitted)
                    await hold.Task;
                await SayAdmission(client);
            },
            options => options with { Budget = Budget(connections: 1, refusals: 3, handoffs: 8) });
        using var first = TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 1);

        var answers = await Task.WhenAll(Enumerable.Range(0, 200).Select(async _ =>
        {
            using var client = TestClient.HandOver(server.SocketPath, "{}");
            return await TestClient.ReadTextAsync(client);
        }));

        Assert.All(answers, answer => Assert.Equal("OverCapacity", answer));
        Assert.Empty(server.Rejections);
        hold.SetResult();
        Assert.Equal("Admitted", await TestClient.ReadTextAsync(first));
    }

    [Fact]
    public async Task Drain_serves_those_that_wait_for_a_slot_and_those_in_the_accept_queue_behind_them()
    {
        var hold = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await hold.Task;
                await SayAdmission(client);
            },
            options => options with { Budget = Budget(connections: 1, refusals: 1, handoffs: 4) });
        var clients = Enumerable.Range(0, 40).Select(_ => TestClient.HandOver(server.SocketPath, "{}")).ToList();
        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 2);

        server.Server.BeginDrain();
        hold.SetResult();

        foreach (var client in clients)
        {
            Assert.Contains(await TestClient.ReadTextAsync(client), (string[])["Admitted", "OverCapacity"]);
            client.Dispose();
        }

        await server.Server.Completion.WaitAsync(TestClient.Patience);
        Assert.Empty(server.Rejections);
    }

    [Fact]
    public async Task Stop_drops_those_that_wait_for_a_slot_and_leaves_nothing_open()
    {
        var before = OpenDescriptors.SocketsAndRings();
        await using (var server = await RunningServer.StartAsync(
            client => client.Ended.AsTask(),
            options => options with { Budget = Budget(connections: 1, refusals: 1, handoffs: 4) }))
        {
            var clients = Enumerable.Range(0, 20).Select(_ => TestClient.HandOver(server.SocketPath, "{}")).ToList();
            // Two are told, and at least one waits for a slot: its message is received within a turn or two.
            await Eventually.TrueAsync(() => server.Server.Statistics is { Started: 2, Accepted: > 2 });
            for (var i = 0; i < 5; i++)
                Assert.True(await server.Server.IsTurningAsync(TestClient.Patience));

            server.Server.Stop();

            await server.Server.Completion.WaitAsync(TestClient.Patience);
            var statistics = server.Server.Statistics;
            Assert.Equal((2, statistics.Accepted - 2), (statistics.Started, statistics.Rejected));
            clients.ForEach(client => client.Dispose());
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Peers_that_connect_and_say_nothing_do_not_keep_real_handoffs_out(int type)
    {
        const int peers = 2_000;
        const int cap = 100;
        // Their own deadline is far: a silent peer gives way only because others come.
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            Budget = Budget(connections: 100, refusals: 4, handoffs: cap),
            HandoffTimeoutMs = 600_000,
            UseStreamSocket = type == Posix.SockStream,
        });
        var silent = Enumerable.Range(0, peers).Select(_ => Posix.ConnectUnix(server.SocketPath, type)).ToList();

        for (var i = 0; i < 50; i++)
        {
            using var client = TestClient.HandOver(server.SocketPath, "{}", type);
            Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
        }

        Assert.NotEmpty(server.Rejections);
        Assert.All(server.Rejections, reason => Assert.Equal(HandoffRejection.TimedOut, reason));
        Assert.True(server.Rejections.Count >= peers - cap - 1, $"{server.Rejections.Count} dropped");
        silent.ForEach(fd => Posix.Close(fd));
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket, "{}", "")]
    [InlineData(Posix.SockStream, "{}", "")]
    [InlineData(Posix.SockStream, "{", "}")]
    public async Task Client_whose_descriptor_finds_no_place_is_served_when_there_is_one(
        int type, string first, string rest)
    {
        using var table = Posix.BoundDescriptorTable(spare: 64);
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            Budget = Budget(connections: 100, refusals: 4, handoffs: 16),
            UseStreamSocket = type == Posix.SockStream,
        });
        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);
        await WarmAsync(server, type);
        var connection = Posix.ConnectUnix(server.SocketPath, type);
        await Eventually.TrueAsync(() => server.Server.Statistics.Accepted == 2);

        await table.FillAsync();
        var turns = server.Server.Statistics.Turns;
        Posix.SendDescriptors(connection, Encoding.UTF8.GetBytes(first), theirs);
        // Looked at, put back, looked at again: each is a turn or two, ten times a second.
        await Eventually.TrueAsync(() => server.Server.Statistics.Turns > turns + 5);
        var (started, available) = (server.Server.Statistics.Started, client.Available);
        table.Release(3);
        if (rest.Length > 0)
            Posix.SendDescriptors(connection, Encoding.UTF8.GetBytes(rest));
        var answer = await TestClient.ReadTextAsync(client);
        table.Release();

        Assert.Equal((1, 0), (started, available));
        Assert.Equal("Admitted", answer);
        Assert.Empty(server.Rejections);
        Posix.Close(connection);
        Posix.Close(theirs);
    }

    [Fact]
    public async Task Stream_that_waited_for_a_place_and_then_stops_halfway_is_timed_out()
    {
        using var table = Posix.BoundDescriptorTable(spare: 64);
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            Budget = Budget(connections: 100, refusals: 4, handoffs: 16),
            UseStreamSocket = true,
            HandoffTimeoutMs = 2_000,
        });
        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);
        await WarmAsync(server, Posix.SockStream);
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockStream);
        await Eventually.TrueAsync(() => server.Server.Statistics.Accepted == 2);

        await table.FillAsync();
        var turns = server.Server.Statistics.Turns;
        Posix.SendDescriptors(connection, "{"u8, theirs);
        await Eventually.TrueAsync(() => server.Server.Statistics.Turns > turns + 5);
        Posix.Close(theirs);
        table.Release();

        Assert.Empty(await TestClient.ReadToEndAsync(client));
        await Eventually.TrueAsync(() => server.Rejections.Count == 1);
        Assert.Equal([HandoffRejection.TimedOut], server.Rejections);
        Posix.Close(connection);
    }

    [Fact]
    public async Task Accept_without_a_free_descriptor_backs_off_and_recovers_by_itself()
    {
        using var table = Posix.BoundDescriptorTable(spare: 64);
        await using var server = await RunningServer.StartAsync(SayAdmission,
            options => options with { Budget = Budget(connections: 100, refusals: 4, handoffs: 16) });
        await WarmAsync(server, Posix.SockSeqPacket);
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        var waiting = Enumerable.Range(0, 5).Select(_ => (Fd: Posix.NewSocket(Posix.AfUnix, Posix.SockSeqPacket),
            Pair: Posix.SocketPair())).ToList();
        var clients = waiting.Select(w => Posix.ToSocket(w.Pair.Left)).ToList();

        await table.FillAsync();
        foreach (var (fd, pair) in waiting)
        {
            Posix.ConnectUnix(fd, server.SocketPath);
            Posix.SendDescriptors(fd, "{}"u8, pair.Right);
        }

        var (turns, begun) = (server.Server.Statistics.Turns, Environment.TickCount64);
        await Eventually.TrueAsync(() => Environment.TickCount64 - begun > 500);
        // A loop that spins would have turned a hundred thousand times.
        Assert.InRange(server.Server.Statistics.Turns - turns, 1, 500);
        Assert.Equal(1, server.Server.Statistics.Accepted);
        table.Release();

        foreach (var client in clients)
        {
            Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
            client.Dispose();
        }

        Assert.Empty(server.Rejections);
        foreach (var (fd, pair) in waiting)
        {
            Posix.Close(fd);
            Posix.Close(pair.Right);
        }
    }

    [Theory]
    [InlineData(0, null, true)]
    [InlineData(1, null, false)]
    [InlineData(null, 0, true)]
    [InlineData(null, 1, false)]
    [InlineData(1, 0, true)]
    [InlineData(0, 1, true)]
    [InlineData(1, 1, false)]
    public async Task Peers_in_neither_list_are_dropped_unread_and_counted(int? uidOff, int? gidOff, bool served)
    {
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            AllowedUids = uidOff is { } u ? [4_000_000, Posix.EffectiveUid() + u] : [],
            AllowedGids = gidOff is { } g ? [Posix.EffectiveGid() + g] : [],
        });

        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);
        try
        {
            TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, theirs);
        }
        catch (PosixException e) when (!served)
        {
            // It was dropped before it could send.
            Assert.Equal(32, e.Errno);
        }

        Posix.Close(theirs);
        Assert.Equal(served ? "Admitted" : "", await TestClient.ReadTextAsync(client));
        await Eventually.TrueAsync(() => server.Rejections.Count == (served ? 0 : 1));
        Assert.All(server.Rejections, reason => Assert.Equal(HandoffRejection.PeerNotAllowed, reason));
        Assert.Equal(served ? 0 : 1, server.Server.Statistics.Rejected);
    }
}
