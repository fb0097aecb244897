namespace StreamingDaemon.Testing.Chaos;

/// <summary>What befalls the store that the daemons share, and one of them. Between two faults there is time
/// without any, in which nothing is excused.</summary>
public sealed class KeptFaults(KeptWorld world, RedisServer redis, Random random)
{
    private const int SigStop = 19;
    private const int SigCont = 18;

    private static readonly string[] s_names = ["Redis stopped", "Redis killed, empty after it",
        "Redis killed for longer than a lease", "Redis emptied", "connections to Redis cut", "daemon killed"];

    /// <summary>Plays faults until told to stop; then everything is up again.</summary>
    /// <param name="quietMs">Least time between two of them; up to twice as long.</param>
    /// <param name="goOn">Asked between two faults.</param>
    public async Task PlayAsync(int quietMs, Func<bool> goOn)
    {
        var turn = random.Next(s_names.Length);
        while (await QuietAsync(quietMs + random.Next(quietMs), goOn))
        {
            using var over = new CancellationTokenSource();
            var marking = MarkAsync(over.Token);
            await PlayOneAsync(turn++ % s_names.Length);
            await over.CancelAsync();
            await marking;
        }
    }

    private async Task PlayOneAsync(int fault)
    {
        world.Fault(s_names[fault]);
        switch (fault)
        {
            case 0:
                Posix.Kill(redis.Pid, SigStop);
                await Task.Delay(random.Next(200, 3_000));
                Posix.Kill(redis.Pid, SigCont);
                break;
            case 1 or 2:
                await redis.KillAsync();
                await Task.Delay(fault == 1 ? random.Next(100, 3_000) : random.Next(6_500, 9_000));
                await redis.StartAgainAsync();
                break;
            case 3:
                await redis.CommandAsync("FLUSHALL");
                break;
            case 4:
                await redis.CommandAsync("CLIENT", "KILL", "TYPE", "normal");
                break;
            default:
                await world.Targets[^1].KillAsync();
                await Task.Delay(random.Next(2_000));
                await world.Targets[^1].StartAsync();
                break;
        }
    }

    private async Task MarkAsync(CancellationToken over)
    {
        do
        {
            world.Trouble();
            await Task.Delay(500, over).ContinueWith(static _ => { }, TaskScheduler.Default);
        }
        while (!over.IsCancellationRequested);
        world.Trouble();
    }

    private static async Task<bool> QuietAsync(int milliseconds, Func<bool> goOn)
    {
        for (var left = milliseconds; left > 0 && goOn(); left -= 250)
            await Task.Delay(Math.Min(left, 250));
        return goOn();
    }
}
