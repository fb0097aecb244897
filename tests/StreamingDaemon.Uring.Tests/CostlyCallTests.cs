using System.Diagnostics;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Calls on a client's socket that wait for nothing and compute: in a network namespace of its own, a
/// peer can have each packet filtered by thousands of programs, in the thread that sends it.</summary>
public sealed class CostlyCallTests
{
    private const int Events = 300;

    /// <summary>Three looks, 20 ms apart, of calls that last as long, and many that are late on a crowded
    /// machine.</summary>
    private const int MostByLoop = 100;

    private static readonly TimeSpan s_cost = TimeSpan.FromMilliseconds(20);

    [Fact]
    public async Task Calls_that_compute_for_long_are_made_one_at_a_time_by_another_thread()
    {
        const int Clients = 5;
        var (byLoop, byOther, now, most) = (0, 0, 0, 0);
        await using var server = await RunningServer.StartAsync(
            SayAllAsync,
            options => options with
            {
                CallFault = (in ClientCall call) => Costly(call, () => byLoop++),
                CostlyCallFault = (in ClientCall call) => Costly(call, () =>
                {
                    byOther++;
                    most = Math.Max(most, Interlocked.Increment(ref now));
                }, () => Interlocked.Decrement(ref now)),
            });
        var clients = Enumerable.Range(0, Clients)
            .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();

        foreach (var client in clients)
        {
            Assert.Equal(string.Concat(Enumerable.Range(0, Events)),
                await TestClient.ReadTextAsync(client, TimeSpan.FromSeconds(60)));
            client.Dispose();
        }

        Assert.InRange(byLoop, 1, MostByLoop);
        Assert.True(byOther > byLoop, $"{byLoop} by the loop, {byOther} by the other thread");
        Assert.Equal(1, most);
    }

    [Fact]
    public async Task Of_costly_sockets_that_come_together_the_loop_meets_one_and_not_each()
    {
        const int Clients = 50;
        const int Few = 5;
        var (byLoop, byOther) = (0, 0);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                Encoding.UTF8.GetBytes("all", client);
                await client.FlushAsync();
                client.Complete();
            },
            options => options with
            {
                CallFault = (in ClientCall call) => Costly(call, () => byLoop++),
                CostlyCallFault = (in ClientCall call) => Costly(call, () => byOther++),
            });
        var clients = Enumerable.Range(0, Clients)
            .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();

        foreach (var client in clients)
        {
            Assert.Equal("all", await TestClient.ReadTextAsync(client));
            client.Dispose();
        }

        Assert.InRange(byLoop, 1, Few);
        Assert.Equal(Clients, byLoop + byOther);
    }

    /// <summary>Events of all clients come together, so a turn of the loop makes many calls.</summary>
    [Fact]
    public async Task Of_quick_sockets_that_turn_costly_the_loop_meets_one_and_not_each()
    {
        const int Site = 10;
        const int Strangers = 8;
        const int EventsMs = 50;
        var (site, byLoop, byOther) = (new HashSet<int>(), 0, 0);
        var isCostly = false;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                while (!client.Cancelled.IsCancellationRequested)
                {
                    Encoding.UTF8.GetBytes("x", client);
                    await client.FlushAsync();
                    await Task.Delay(EventsMs - (int)(Environment.TickCount64 % EventsMs));
                }
            },
            options => options with
            {
                CallFault = (in ClientCall call) => Make(call, () => byLoop++),
                CostlyCallFault = (in ClientCall call) => Make(call, () => byOther++),
            });
        var clients = Enumerable.Range(0, Site)
            .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();
        foreach (var client in clients)
            _ = await TestClient.ReadUntilAsync(client, "x");
        // Its packets cost nothing: only the faults do.
        using var network = new CostlyNetwork(Strangers, TimeSpan.Zero);
        foreach (var (browser, stranger) in network.Pairs)
        {
            TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)stranger.Handle);
            _ = await TestClient.ReadUntilAsync(browser, "xxx");
        }

        Volatile.Write(ref isCostly, true);
        await Eventually.TrueAsync(() => Volatile.Read(ref byOther) > 2 * Strangers);

        Assert.Equal(1, byLoop);
        foreach (var client in clients)
            client.Dispose();

        int Make(in ClientCall call, Action begun)
        {
            lock (site)
            {
                // The first clients are the site's.
                if (site.Count < Site)
                    site.Add(call.Fd);
                if (site.Contains(call.Fd) || !Volatile.Read(ref isCostly) || call.Kind != OperationKind.ClientSend)
                    return call.Proceed();
            }

            begun();
            ComputeOnCore(s_cost);
            return call.Proceed();
        }
    }

    [Fact]
    public async Task Client_whose_calls_are_costly_for_too_long_ends_and_the_others_do_not()
    {
        var ends = new List<ClientEnd>();
        var costly = -1;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await SayAllAsync(client);
                var end = await client.Ended;
                lock (ends)
                    ends.Add(end);
            },
            options => options with
            {
                MostCostMs = 500,
                CallFault = (in ClientCall call) =>
                {
                    Interlocked.CompareExchange(ref costly, call.Fd, -1);
                    return call.Fd == costly ? Costly(call, () => { }) : call.Proceed();
                },
                CostlyCallFault = (in ClientCall call) =>
                    call.Fd == costly ? Costly(call, () => { }) : call.Proceed(),
            });
        using var victim = TestClient.HandOverTcp(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => costly >= 0);
        using var other = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.EndsWith($"{Events - 1}", await TestClient.ReadTextAsync(other), StringComparison.Ordinal);
        _ = await TestClient.ReadTextAsync(victim);

        await Eventually.TrueAsync(() => ends.Count == 2);
        Assert.Equal([ClientEnd.Completed, ClientEnd.SlowClient], ends.Order());
    }

    [Fact]
    public async Task Call_that_waits_behind_hung_ones_for_all_threads_is_taken_back_at_once()
    {
        // 64 threads that are left behind, and one more.
        const int Threads = 65;
        const int Clients = Threads + 10;
        var ends = new List<ClientEnd>();
        var hung = 0;
        using var release = new ManualResetEventSlim();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                Encoding.UTF8.GetBytes("all", client);
                await client.FlushAsync();
                client.Complete();
                var end = await client.Ended;
                lock (ends)
                    ends.Add(end);
            },
            options => options with
            {
                WriteTimeoutMs = (int)TestClient.Patience.TotalMilliseconds * 10,
                CallFault = (in ClientCall call) => Costly(call, () => { }),
                CostlyCallFault = (in ClientCall call) =>
                {
                    if (Interlocked.Increment(ref hung) <= Threads)
                        release.Wait();
                    return Costly(call, () => { });
                },
            });
        try
        {
            var clients = Enumerable.Range(0, Clients)
                .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();
            await Eventually.TrueAsync(() => Volatile.Read(ref hung) >= Threads);

            await Eventually.TrueAsync(() =>
            {
                lock (ends)
                    return ends.Count >= Clients - Threads - 1;
            });
            foreach (var client in clients)
                client.Dispose();
        }
        finally
        {
            release.Set();
        }
    }

    [Fact]
    public async Task Client_whose_calls_were_quick_goes_on_while_costly_ones_hang_in_all_threads()
    {
        const int Returning = 5;
        const int Threads = 65;
        var (made, quick) = (0, -1);
        var end = new TaskCompletionSource<ClientEnd>();
        using var release = new ManualResetEventSlim();
        using var goOn = new SemaphoreSlim(0);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                var isQuick = client.HandoffData.Length > 2;
                Encoding.UTF8.GetBytes("all", client);
                await client.FlushAsync();
                if (isQuick)
                {
                    await goOn.WaitAsync(TestClient.Patience);
                    Encoding.UTF8.GetBytes(" and more", client);
                }

                client.Complete();
                if (isQuick)
                    end.SetResult(await client.Ended);
            },
            options => options with
            {
                WriteTimeoutMs = (int)TestClient.Patience.TotalMilliseconds * 10,
                CallFault = (in ClientCall call) =>
                {
                    Interlocked.CompareExchange(ref quick, call.Fd, -1);
                    return call.Fd == quick ? call.Proceed() : Costly(call, () => { });
                },
                // Some return, so that the network is known to be costly.
                CostlyCallFault = (in ClientCall call) =>
                {
                    if (Interlocked.Increment(ref made) is > Returning and <= Returning + Threads)
                        release.Wait();
                    return Costly(call, () => { });
                },
            });
        try
        {
            using var client = TestClient.HandOverTcp(server.SocketPath, """{"prompt":"quick"}""");
            Assert.Equal("all", await TestClient.ReadUntilAsync(client, "all"));
            var others = Enumerable.Range(0, Returning + Threads + 10)
                .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();
            await Eventually.TrueAsync(() => Volatile.Read(ref made) >= Returning + Threads);

            goOn.Release();

            Assert.Equal(" and more", await TestClient.ReadTextAsync(client));
            Assert.Equal(ClientEnd.Completed, await end.Task.WaitAsync(TestClient.Patience));
            foreach (var other in others)
                other.Dispose();
        }
        finally
        {
            release.Set();
        }
    }

    [Fact]
    public void Client_is_accused_by_most_of_its_calls_and_believed_again_after_quick_ones()
    {
        var cost = new ClientCost();
        cost.Add(20_000_000);
        Assert.False(cost.IsAccused);
        cost.Add(20_000_000);
        Assert.True(cost.IsAccused);
        Assert.False(cost.IsMostlyQuick);
        for (var i = 0; i < 8; i++)
            cost.Add(10_000);

        Assert.False(cost.IsAccused);
        Assert.Equal(0, cost.Ns);
    }

    [Fact]
    public void Client_that_is_hit_by_the_packets_of_others_now_and_then_costs_nothing()
    {
        var cost = new ClientCost();
        for (var i = 0; i < 10_000; i++)
            cost.Add(i % 5 == 0 ? 50_000_000 : 10_000);

        Assert.Equal(0, cost.Ns);
    }

    [Fact]
    public void Client_that_was_costly_once_waits_for_those_that_were_not()
    {
        var costly = new ClientCost();
        costly.Add(20_000_000);
        Assert.Equal(20_000_000, costly.SpentNs);

        // Quick calls in between are no way around it.
        for (var i = 0; i < 100; i++)
            costly.Add(i % 2 == 0 ? 10_000 : 20_000_000);
        Assert.True(costly.SpentNs >= 20_000_000);

        for (var i = 0; i < 30; i++)
            costly.Add(10_000);
        Assert.Equal(0, costly.SpentNs);
    }

    [Fact]
    public async Task Loop_goes_on_on_another_thread_while_one_call_computes()
    {
        var release = false;
        var isFirst = true;
        await using var server = await RunningServer.StartAsync(
            SayAllAsync,
            options => options with
            {
                CallFault = (in ClientCall call) =>
                {
                    if (isFirst)
                    {
                        isFirst = false;
                        var longest = Stopwatch.StartNew();
                        while (!Volatile.Read(ref release) && longest.Elapsed < TestClient.Patience)
                            Thread.SpinWait(100);
                    }

                    return call.Proceed();
                },
            });
        using var victim = TestClient.HandOverTcp(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => !Volatile.Read(ref isFirst));

        using var other = TestClient.HandOverTcp(server.SocketPath, "{}");
        Assert.EndsWith($"{Events - 1}", await TestClient.ReadTextAsync(other), StringComparison.Ordinal);

        Assert.Equal(1, server.Server.Statistics.HungCalls.Now);
        Volatile.Write(ref release, true);
        Assert.EndsWith($"{Events - 1}", await TestClient.ReadTextAsync(victim), StringComparison.Ordinal);
    }

    private static int Costly(in ClientCall call, Action begun, Action? ended = null)
    {
        if (call.Kind != OperationKind.ClientSend)
            return call.Proceed();
        begun();
        Compute(s_cost);
        ended?.Invoke();
        return call.Proceed();
    }

    private static void Compute(TimeSpan time)
    {
        var spent = Stopwatch.StartNew();
        while (spent.Elapsed < time)
            Thread.SpinWait(100);
    }

    /// <summary>For so much time on a core: the thread may wait for one meanwhile.</summary>
    private static void ComputeOnCore(TimeSpan time)
    {
        const int NanosecondsPerTick = 100;
        var untilNs = ThreadTime.OfThisThread() + (time.Ticks * NanosecondsPerTick);
        while (ThreadTime.OfThisThread() < untilNs)
            Thread.SpinWait(100);
    }

    /// <summary>Each in a send of its own.</summary>
    private static async Task SayAllAsync(ClientStream client)
    {
        for (var i = 0; i < Events; i++)
        {
            Encoding.UTF8.GetBytes($"{i}", client);
            await client.FlushAsync();
            await Task.Delay(10);
        }

        client.Complete();
    }
}
