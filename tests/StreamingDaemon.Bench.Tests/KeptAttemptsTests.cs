using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Chaos;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

/// <summary>The account of deliveries of the chaos tells a stall from a wait.</summary>
public sealed class KeptAttemptsTests : IDisposable
{
    private readonly TempDirectory _spool = new();
    private readonly KeptAttempts _attempts;
    private long _nowMs = 1_000_000;

    public KeptAttemptsTests()
    {
        _attempts = new KeptAttempts(() => _nowMs);
        Directory.CreateDirectory(_spool.File("pending"));
    }

    public void Dispose() => _spool.Dispose();

    [Fact]
    public void Each_wait_has_the_cause_that_made_most_of_it()
    {
        // Taken at once; the next of its user is behind one that failed; the last one waits for nobody.
        _attempts.Add("a", "7", 100, KeptVerdict.Taken);
        _attempts.Add("b", "7", 100, KeptVerdict.Failed);
        _nowMs += 1_000;
        _attempts.Add("b", "7", 1_100, KeptVerdict.Taken);
        _nowMs += 900;
        _attempts.Add("c", "7", 1_900, KeptVerdict.Taken);
        _nowMs += 6_000;
        _attempts.Add("d", "8", 5_000, KeptVerdict.Taken);

        Assert.Equal(new Dictionary<string, int>
        {
            ["its own failure: Failed"] = 1,
            ["the one before it of its user"] = 1,
            ["the daemon"] = 1,
        }, _attempts.Late);
        Assert.Equal(5_000, _attempts.LongestIdleMs);
    }

    [Fact]
    public void Pause_of_all_is_the_receivers_and_what_follows_it_the_daemons()
    {
        _attempts.Add("a", "7", 0, KeptVerdict.Away);
        _nowMs += 3_250;
        _attempts.Add("b", "8", 3_250, KeptVerdict.Taken);

        Assert.Equal(3_000, _attempts.LongestIdleMs);
    }

    [Fact]
    public async Task Delivery_that_nobody_sends_is_a_stall_and_one_that_waits_for_its_time_is_none()
    {
        _attempts.Add("msg_1", "7", 0, KeptVerdict.Failed);
        File.WriteAllText(_spool.File("pending/1-7-msg_1.json"), "");
        File.WriteAllText(_spool.File("pending/2-7-msg_2.json"), "");
        var spool = new KeptSpool(_spool.Path);

        var draining = spool.DrainAsync(_attempts);
        Assert.False(draining.IsCompleted);
        _nowMs += 20_000;

        Assert.StartsWith("msg_1 lies there, of 2, due for 19000 ms: it was tried 1 times: Failed",
            await draining.WaitAsync(TestClient.Patience), StringComparison.Ordinal);
        File.Delete(_spool.File("pending/1-7-msg_1.json"));
        File.Delete(_spool.File("pending/2-7-msg_2.json"));
        Assert.Null(await spool.DrainAsync(_attempts));
    }
}
