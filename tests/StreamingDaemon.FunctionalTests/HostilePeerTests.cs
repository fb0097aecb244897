using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What a local peer that may connect can do to the streams of others: nothing.</summary>
public sealed class HostilePeerTests
{
    private const int Readers = 200;
    private const int Times = 5;
    private const int Tries = 3;
    private const int Sigterm = 15;
    private const int ShutdownSeconds = 2;

    /// <summary>Longest that a reader may wait. Events come every 50 ms.</summary>
    private static readonly TimeSpan s_longestGap = TimeSpan.FromMilliseconds(300);

    public static TheoryData<string, int> Acts
    {
        get
        {
            var acts = new TheoryData<string, int>();
            foreach (var act in HostilePeer.Acts)
            {
                acts.Add(act, Posix.SockSeqPacket);
                if (act.Contains("Linger", StringComparison.Ordinal))
                    acts.Add(act, Posix.SockStream);
            }

            return acts;
        }
    }

    [Theory, MemberData(nameof(Acts))]
    public async Task Hostile_descriptor_holds_up_nobody_but_its_own_stream(string act, int type)
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
                // What this machine makes of it unharmed.
                readers.Forget();
                var soon = readers.Events + (Readers * 30);
                await Eventually.TrueAsync(() => readers.Events >= soon);
                var quiet = readers.WorstGap;
                var limit = quiet * 3 > s_longestGap ? quiet * 3 : s_longestGap;
                // Once more if the host took the cores: a loop that is held up is so each time.
                TimeSpan gap;
                var tries = 0;
                do
                    gap = await AttackAsync(daemon, readers, peer, act);
                while (gap > limit && ++tries < Tries);
                Assert.True(gap <= limit, $"a reader waited {gap}, above {limit} ({quiet} before)");
                Assert.Empty(readers.Complaints);
            }

            if (!act.StartsWith("LockHeld", StringComparison.Ordinal))
                await AssertEndsInTimeAsync(daemon);
        }

        if (act.StartsWith("LockHeld", StringComparison.Ordinal))
        {
            // A process whose thread waits for a socket's lock cannot end: signal(7), state D. It lets go.
            await Eventually.TrueAsync(() => daemon.OpenSockets() <= atRest);
            await Eventually.TrueAsync(async () =>
                (await daemon.MetricValuesAsync()).Where(m => m.Key.Contains("hung", StringComparison.Ordinal))
                    .All(m => m.Value == 0));
            await AssertEndsInTimeAsync(daemon);
        }
    }

    /// <returns>The longest that a reader waited.</returns>
    private static async Task<TimeSpan> AttackAsync(
        DaemonProcess daemon, SteadyReaders readers, HostilePeer peer, string act)
    {
        readers.Forget();
        for (var i = 0; i < Times; i++)
            await peer.CommitAsync(act);
        // Two seconds of everybody's events.
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
