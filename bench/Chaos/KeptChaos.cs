using System.Diagnostics;
using StreamingDaemon.Testing.Chaos;

/// <summary>The chaos of kept answers, with its figures.</summary>
internal static class KeptChaos
{
    private static readonly TimeSpan s_betweenSamples = TimeSpan.FromSeconds(10);

    /// <returns>The exit code: 1 if anything was wrong.</returns>
    public static async Task<int> RunAsync(bool shared, TimeSpan limit, int atOnce, int seed)
    {
        await using var run = await KeptChaosRun.StartAsync(shared, seed);
        var watch = Stopwatch.StartNew();
        var memory = new List<long>();
        Console.WriteLine($"seed {seed}, {atOnce} answers at a time, daemon {run.Daemon.Pid}");
        Console.WriteLine("   seconds    answers      rss KB    sockets  complaints");
        using var ticker = new Timer(_ => Print(run, watch, memory), null, TimeSpan.Zero, s_betweenSamples);
        await run.PlayAsync(atOnce, quietMs: 12_000, () => watch.Elapsed < limit);
        await ticker.DisposeAsync();
        var left = await run.SettleAsync();
        Console.WriteLine();
        foreach (var (what, count) in run.World.Counts.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            Console.WriteLine($"  {what,-40}{count,10}");
        var deliveries = run.Deliveries;
        Console.WriteLine($"\n{run.Answers} answers; {deliveries.Arrived} arrived by {deliveries.Requests} requests, "
            + $"{deliveries.Refusals} were refused for good; complaints {run.Complaints.Values.Sum() + left.Count}");
        var attempts = deliveries.Attempts;
        Console.WriteLine($"{attempts.Late.Values.Sum()} arrived more than a second after their end, the last after "
            + $"{attempts.LongestMs / 1000.0:0.0} s; at most {attempts.LongestIdleMs / 1000.0:0.0} s of one's wait were "
            + "the daemon's; the rest by cause");
        foreach (var (cause, count) in attempts.Late.OrderByDescending(pair => pair.Value))
            Console.WriteLine($"  {count,6}  {cause}");
        foreach (var idle in attempts.Idle)
            Console.WriteLine($"  waited for the daemon: {idle}");
        if (attempts.Idle.Count > 0)
            Console.WriteLine($"  faults: {string.Join("; ", run.World.Faults)}");
        foreach (var (complaint, count) in run.Complaints.OrderByDescending(pair => pair.Value).Take(40))
            Console.WriteLine($"  {count,6}  {complaint}");
        foreach (var complaint in left)
            Console.WriteLine($"  at the end: {complaint}");
        var growth = MemoryCurve.Judge(memory);
        Console.WriteLine(growth ?? (memory.Count < MemoryCurve.FewestSamples
            ? "too short to tell whether resident memory is flat" : "resident memory is flat"));
        return run.Complaints.Count == 0 && left.Count == 0 && growth is null ? 0 : 1;
    }

    private static void Print(KeptChaosRun run, Stopwatch watch, List<long> memory)
    {
        var resident = run.Daemon.ResidentKb();
        lock (memory)
            memory.Add(resident);
        Console.WriteLine($"{watch.Elapsed.TotalSeconds,10:0}{run.Answers,11}{resident,12}"
            + $"{run.Daemon.OpenSockets(),11}{run.Complaints.Values.Sum(),12}");
    }
}
