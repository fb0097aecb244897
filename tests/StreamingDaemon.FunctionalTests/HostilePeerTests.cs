using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A hostile local peer that may connect cannot harm the streams of others.</summary>
[Trait("Takes", "Long")]
[Trait("Seccomp", "No")]
public sealed class HostilePeerTests
{
    private const int Readers = 200;
    private const int Times = 5;
    private const int Tries = 3;
    private const int Sigterm = 15;
    private const int ShutdownSeconds = 2;

    /// <summary>The longest that a reader may wait for an event; one is sent every 50 ms.</summary>
    private static readonly TimeSpan s_longestGap = TimeSpan.FromMilliseconds(300);

    public static TheoryData<string, int> Acts
    {
        get
        {
            var acts = new TheoryData<string, int>();
            foreach (var act in HostilePeer.Acts.Except(HostilePeer.CostlyActs))
            {
                acts.Add(act, Posix.SockSeqPacket);
                if (act.Contains("Linger", StringComparison.Ordinal))
                    acts.Add(act, Posix.SockStream);
            }

            return acts;
        }
    }

    public static TheoryData<string> CostlyActs => new(HostilePeer.CostlyActs);

    [Theory, MemberData(nameof(Acts))]
    public Task Hostile_descriptor_holds_up_nobody_but_its_own_stream(string act, int type) =>
        AssertHoldsUpNobodyAsync(act, type);

    [Theory, MemberData(nameof(CostlyActs))]
    [Trait("Machine", "Alone")]
    public Task Packets_that_compute_hold_up_nobody_but_their_own_stream(string act) =>
        AssertHoldsUpNobodyAsync(act, Posix.SockSeqPacket);

    /// <summary>With fewer and with more hostile sockets than clients of the site.</summary>
    [Theory]
    [InlineData(200, 40, 20)]
    [InlineData(5, 8, 300)]
    [Trait("Machine", "Alone")]
    public async Task Clients_of_the_site_do_not_queue_behind_packets_that_compute(int site, int hostile, int costMs)
    {
        // The first attack on a daemon is the worst, because later it knows the namespace. So each try needs a new one.
        var (gap, limit) = (TimeSpan.MaxValue, TimeSpan.Zero);
        for (var tries = 0; gap > limit && tries < Tries; tries++)
            (gap, limit) = await MeasureCostlyAsync(site, hostile, TimeSpan.FromMilliseconds(costMs));
        Assert.True(gap <= limit, $"a reader waited {gap}, above {limit}");
    }

    [Fact]
    public async Task Closes_that_hang_for_all_their_threads_keep_no_descriptor_of_the_others()
    {
        const int Others = 200;
        const int Threads = 64;
        const int Few = 20;
        await using var daemon = await DaemonProcess.StartAsync(null, true, "--delay", "0");
        var atRest = daemon.OpenSockets();
        using (var peer = new HostilePeer(daemon.SocketPath))
        {
            for (var i = 0; i < Times; i++)
                await peer.CommitAsync("LockHeldOfItsEpoll");
            await Eventually.TrueAsync(async () => await HungReleasesAsync(daemon) == Threads);

            for (var i = 0; i < Others; i++)
            {
                using var other = TestClient.HandOver(daemon.SocketPath, """{"prompt":"other","backend":"mock"}""");
                Assert.Contains("[DONE]", await TestClient.ReadTextAsync(other));
            }

            await Eventually.TrueAsync(() => daemon.OpenSockets() <= atRest + Few);
        }

        await Eventually.TrueAsync(async () => await HungReleasesAsync(daemon) == 0);
        await Eventually.TrueAsync(() => daemon.OpenSockets() <= atRest);
    }

    [Fact]
    public async Task Held_locks_cost_a_task_each_and_no_more_than_there_are_clients()
    {
        const int Places = 12;
        await using var daemon = await DaemonProcess.StartAsync(null, true, "--max-connections", $"{Places}");
        await using (var held = new HeldSockets(daemon))
        {
            await held.BeginAsync(1);
            var row = await held.MeasureAsync(Places - 1);
            Assert.Equal(200, row.Live);
            await Eventually.TrueAsync(() => Workers(daemon) + 1 >= Places - 1);
            // One more waits for work.
            Assert.InRange(Workers(daemon), 0, Places + 1);

            for (var i = 0; i < Places; i++)
            {
                using var refused = TestClient.HandOver(daemon.SocketPath, """{"prompt":"x"}""");
                _ = await TestClient.ReadTextAsync(refused);
            }

            Assert.InRange(Workers(daemon), 0, Places + 1);
        }

        await Eventually.TrueAsync(() => Workers(daemon) <= 2);
        await AssertEndsInTimeAsync(daemon);
    }

    /// <summary>The kernel's threads that make calls for the daemon's rings.</summary>
    private static int Workers(DaemonProcess daemon) =>
        Directory.GetDirectories($"/proc/{daemon.Pid}/task").Count(IsWorker);

    private static bool IsWorker(string task)
    {
        try
        {
            return File.ReadAllText($"{task}/comm").StartsWith("iou-wrk", StringComparison.Ordinal);
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static async Task<double> HungReleasesAsync(DaemonProcess daemon) =>
        (await daemon.MetricValuesAsync())
            .Where(m => m.Key.Contains("hung_threads{work=\"release\"}", StringComparison.Ordinal))
            .Sum(m => m.Value);

    private static async Task AssertHoldsUpNobodyAsync(string act, int type)
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S"] =
                    ShutdownSeconds.ToString(CultureInfo.InvariantCulture),
            },
            true, "--socket-type", type == Posix.SockStream ? "stream" : "seqpacket");
        var atRest = daemon.OpenSockets();
        using (var peer = new HostilePeer(daemon.SocketPath, type))
        {
            await using (var readers = new SteadyReaders(daemon.SocketPath, Readers, type))
            {
                await Eventually.TrueAsync(() => readers.Begun == Readers);
                var limit = await QuietLimitAsync(readers);
                // Retry, in case other processes took the cores: a loop that is blocked fails every time.
                TimeSpan gap;
                var tries = 0;
                do
                {
                    peer.Prepare(act, Times);
                    gap = await AttackAsync(daemon, readers, peer, act);
                }
                while (gap > limit && ++tries < Tries);
                Assert.True(gap <= limit, $"a reader waited {gap}, above {limit}");
                Assert.Empty(readers.Complaints);
            }

            if (!act.StartsWith("LockHeld", StringComparison.Ordinal))
                await AssertEndsInTimeAsync(daemon);
        }

        if (act.StartsWith("LockHeld", StringComparison.Ordinal))
        {
            // A process cannot end while a thread waits for a socket's lock (state D). The lock is free now.
            await Eventually.TrueAsync(() => daemon.OpenSockets() <= atRest);
            await Eventually.TrueAsync(async () =>
                (await daemon.MetricValuesAsync()).Where(m => m.Key.Contains("hung", StringComparison.Ordinal))
                    .All(m => m.Value == 0));
            await AssertEndsInTimeAsync(daemon);
        }
    }

    /// <returns>A reader's longest wait during an attack, and the longest that is allowed.</returns>
    private static async Task<(TimeSpan Gap, TimeSpan Limit)> MeasureCostlyAsync(
        int site, int hostile, TimeSpan cost)
    {
        // Nothing interrupts a packet: one may hold up the core that it is sent on, and then another one each core
        // that the reader's packet moves to.
        const int Packets = 3;
        await using var daemon = await DaemonProcess.StartAsync();
        using var network = new CostlyNetwork(hostile, cost);
        await using var readers = new SteadyReaders(daemon.SocketPath, site);
        await Eventually.TrueAsync(() => readers.Begun == site);
        var limit = await QuietLimitAsync(readers);
        readers.Forget();
        network.Begin();
        foreach (var (_, server) in network.Pairs)
            TestClient.HandOverDescriptor(daemon.SocketPath, """{"prompt":"costly"}"""u8, (int)server.Handle);
        var enough = readers.Events + (site * 60);
        await Eventually.TrueAsync(() => readers.Events >= enough);
        Assert.Empty(readers.Complaints);
        return (readers.WorstGap, limit > cost * Packets ? limit : cost * Packets);
    }

    /// <summary>Measures the longest wait on this machine without an attack.</summary>
    /// <returns>How long a reader may wait during an attack.</returns>
    private static async Task<TimeSpan> QuietLimitAsync(SteadyReaders readers)
    {
        readers.Forget();
        var soon = readers.Events + (readers.Readers * 30);
        await Eventually.TrueAsync(() => readers.Events >= soon);
        var quiet = readers.WorstGap;
        return quiet * 3 > s_longestGap ? quiet * 3 : s_longestGap;
    }

    /// <returns>The longest that a reader waited.</returns>
    private static async Task<TimeSpan> AttackAsync(
        DaemonProcess daemon, SteadyReaders readers, HostilePeer peer, string act)
    {
        readers.Forget();
        for (var i = 0; i < Times; i++)
            await peer.CommitAsync(act);
        // The events of two seconds from all readers.
        var enough = readers.Events + (Readers * 40);
        await Eventually.TrueAsync(async () =>
        {
            Assert.Equal(200, (await daemon.HealthAsync("/health/live")).Status);
            return readers.Events >= enough;
        });
        return readers.WorstGap;
    }

    private static async Task AssertEndsInTimeAsync(DaemonProcess daemon)
    {
        daemon.Signal(Sigterm);
        Assert.InRange(await daemon.ExitCodeAsync().WaitAsync(TimeSpan.FromSeconds(ShutdownSeconds + 1)), 0, 1);
    }
}
