using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What a local peer that may connect can do to the streams of others: nothing.</summary>
public sealed class HostilePeerTests
{
    private const int Readers = 200;
    private const int Times = 5;
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
                var limit = quiet * 3 > s_longestGap ? quiet * 3 : s_longestGap;
                Assert.True(readers.WorstGap <= limit,
                    $"a reader waited {readers.WorstGap}, above {limit} ({quiet} before)");
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

    private static async Task AssertEndsInTimeAsync(DaemonProcess daemon)
    {
        daemon.Signal(Sigterm);
        Assert.InRange(await daemon.ExitCodeAsync().WaitAsync(TimeSpan.FromSeconds(ShutdownSeconds + 1)), 0, 1);
    }
}
