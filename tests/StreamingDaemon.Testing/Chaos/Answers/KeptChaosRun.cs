using System.Collections.Concurrent;
using System.Diagnostics;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>
/// Kept answers under faults: readers that leave and read on, joins, stops, a receiver of deliveries that
/// comes and goes; with Redis, two daemons that share the answers, and faults of both. Every reader's events
/// must be a prefix of one answer, without a gap or a repeat. At the end, every handoff must have one outcome
/// and nothing may be left.
/// </summary>
public sealed class KeptChaosRun : IAsyncDisposable
{
    /// <summary>Until streams and answers have ended that nobody reads any more.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    private readonly KeptSpool _spool;
    private readonly KeptUpstream _model = new();
    private readonly ConcurrentDictionary<string, int> _complaints = new();
    private readonly TempDirectory _directory;
    private readonly FakeLlmServer _upstream;
    private readonly RedisServer? _redis;
    private readonly int _seed;
    private long _answers;

    private KeptChaosRun(TempDirectory directory, FakeLlmServer upstream, RedisServer? redis, int seed)
    {
        (_directory, _upstream, _redis, _seed) = (directory, upstream, redis, seed);
        _spool = new KeptSpool(directory.File("spool"));
        Deliveries = new KeptDeliveries(seed, mayRepeat: redis is not null);
        var count = redis is null ? 1 : 2;
        World = new KeptWorld([.. Enumerable.Range(0, count).Select(_ => new KeptTarget(StartDaemonAsync))]);
        upstream.Scenario = _model.AnswerAsync;
    }

    public KeptWorld World { get; }

    public KeptDeliveries Deliveries { get; }

    /// <summary>Answers that were played to their end.</summary>
    public long Answers => Volatile.Read(ref _answers);

    /// <summary>What was wrong, with its number.</summary>
    public IReadOnlyDictionary<string, int> Complaints => _complaints;

    /// <summary>The daemon that is never killed.</summary>
    public DaemonProcess Daemon => World.Targets[0].Daemon!;

    /// <param name="shared">True for two daemons on one Redis, with faults of both.</param>
    /// <param name="seed">Seed of all choices.</param>
    /// <param name="more">Further lines of the daemons' configuration, by the port of Redis or 0.</param>
    public static async Task<KeptChaosRun> StartAsync(bool shared, int seed, Func<int, string>? more = null)
    {
        var redis = shared ? await RedisServer.StartAsync() : null;
        var directory = new TempDirectory();
        var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        var run = new KeptChaosRun(directory, upstream, redis, seed);
        try
        {
            await File.WriteAllTextAsync(directory.File("secret"), DeliveryReceiver.Secret + "\n");
            await File.WriteAllTextAsync(directory.File("chaos.toml"),
                run.Configuration() + more?.Invoke(redis?.Port ?? 0));
            foreach (var target in run.World.Targets)
                await target.StartAsync();
            return run;
        }
        catch
        {
            // Redis, and the daemon that did start, would outlive the test.
            await run.DisposeAsync();
            throw;
        }
    }

    /// <summary>Keeps that many answers running until told to stop.</summary>
    /// <param name="atOnce">Answers at a time, of one to four readers each.</param>
    /// <param name="quietMs">Least time between two faults of Redis and its daemons.</param>
    /// <param name="goOn">Asked before each answer.</param>
    public async Task PlayAsync(int atOnce, int quietMs, Func<bool> goOn)
    {
        var playing = Task.WhenAll(Enumerable.Range(0, atOnce).Select(i => Task.Run(async () =>
        {
            var random = new Random(_seed + i);
            while (goOn())
                await PlayOneAsync(random);
        })));
        var receiver = Deliveries.PlayAsync(() => !playing.IsCompleted);
        if (_redis is not null)
        {
            await new KeptFaults(World, _redis, new Random(_seed - 1))
                .PlayAsync(quietMs, () => !playing.IsCompleted && goOn());
        }

        await playing;
        await receiver;
    }

    /// <summary>Waits until nothing runs and nothing waits any more.</summary>
    /// <returns>What is wrong then.</returns>
    public async Task<IReadOnlyList<string>> SettleAsync()
    {
        var complaints = new List<string>();
        // Nobody retries them: each must come by itself, when its pause is over.
        if (await _spool.DrainAsync(Deliveries.Attempts) is { } stalled)
            complaints.Add(stalled);
        var idleMs = Deliveries.Attempts.LongestIdleMs;
        if (idleMs > (World.IsShared ? KeptSpool.UnseenMs : KeptSpool.IdleMs))
            complaints.Add($"a delivery waited {idleMs} ms for the daemon alone");
        var waited = Stopwatch.StartNew();
        foreach (var target in World.Targets)
        {
            string? left;
            while ((left = await LeftAsync(target)) is not null && waited.Elapsed < s_patience)
                await Task.Delay(200);
            if (left is not null)
                complaints.Add(left);
            complaints.AddRange(target.Daemon!.LogLines("\"@l\":\"Error\"")
                .Where(line => !line.Contains("\"DeliveryDead\"", StringComparison.Ordinal)).Take(3));
        }

        complaints.AddRange(Deliveries.Missing().Take(10));
        complaints.AddRange(Deliveries.Complaints.Select(pair => $"{pair.Value} × {pair.Key}"));
        if (_spool.Count("dead") is var dead && dead != Deliveries.Refused)
            complaints.Add($"{dead} dead letters of {Deliveries.Refused} that were refused");
        return complaints;
    }

    public async ValueTask DisposeAsync()
    {
        foreach (var target in World.Targets)
            await target.DisposeAsync();
        Deliveries.Dispose();
        await _upstream.DisposeAsync();
        if (_redis is not null)
            await _redis.DisposeAsync();
        _directory.Dispose();
    }

    private async Task PlayOneAsync(Random random)
    {
        var plan = KeptPlan.Random(random, $"a{Guid.NewGuid():N}");
        var play = new KeptPlay(World, plan, random);
        var (readers, complaints) = await play.RunAsync();
        foreach (var complaint in complaints)
            Complain(complaint.Replace(plan.Id, "ID", StringComparison.Ordinal));
        foreach (var reader in readers.Where(reader => reader.Transcript.End == KeptEnd.Done))
            Deliveries.ReadToDone(plan.Id, reader.Transcript.Call, reader.Transcript.Pieces);
        var calls = _model.Calls(plan.Id);
        // A reset may overtake what was sent before it: then the daemon tries again.
        if (calls > 1 && plan.Fate is not (KeptFate.FailsEmpty or KeptFate.Reset) && !play.IsTroubled)
            Complain($"{plan.Fate}: the model was asked {calls} times");
        _model.Forget(plan.Id);
        Interlocked.Increment(ref _answers);
    }

    private void Complain(string text) => _complaints.AddOrUpdate(text, 1, static (_, count) => count + 1);

    /// <returns>What a daemon has not ended yet; null if there is nothing.</returns>
    private async Task<string?> LeftAsync(KeptTarget target)
    {
        var metrics = await target.MetricsAsync();
        double Sum(string name) => metrics.Where(pair => pair.Key.StartsWith(name + "{", StringComparison.Ordinal))
            .Sum(pair => pair.Value);
        var outcomes = Sum("streaming_daemon_streams_total");
        if (outcomes != target.Handoffs)
            return $"{target.Handoffs} handoffs, {outcomes} outcomes";
        var (kept, ended) = (metrics["streaming_daemon_answers_total{event=\"kept\"}"],
            Sum("streaming_daemon_answers_ended_total"));
        if (kept != ended)
            return $"{kept} answers kept, {ended} ended";
        foreach (var name in (string[])["streaming_daemon_connections_active",
            "streaming_daemon_answers{state=\"running\"}", "streaming_daemon_answers{state=\"finished\"}",
            "streaming_daemon_answers_bytes", "streaming_daemon_deliveries_pending"])
        {
            if (metrics[name] != 0)
                return $"{name} {metrics[name]}";
        }

        // What the daemon that does not send has written is in no daemon's gauge until the other one has seen it.
        if (_spool.Count("pending") is > 0 and var pending)
            return $"{pending} deliveries wait";
        var sockets = target.Daemon!.OpenSockets() - ConnectionsOf.Count(
            target.Daemon.Pid, _upstream.BaseAddress.Port, target.Daemon.MetricsPort, Deliveries.Url.Port);
        return sockets <= target.SocketsAtRest ? null : $"{sockets} sockets, {target.SocketsAtRest} at rest";
    }

    private Task<DaemonProcess> StartDaemonAsync() => DaemonProcess.StartAsync(
        new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-of-the-chaos",
            ["OPENAI_API_BASE"] = _upstream.BaseAddress.ToString(),
        }, true, "--config", _directory.File("chaos.toml"), "--backend", "openai");

    private string Configuration() => $"""
        [streaming]
        head_wait_ms = 300
        [timeouts]
        idle_timeout_ms = 800
        [answers]
        orphan_s = {KeptWorld.OrphanS}
        keep_s = 8
        max_answer_bytes = "128Ki"
        {(_redis is null ? "" : $"store = \"redis\"\nredis = \"127.0.0.1:{_redis.Port}\"")}
        [delivery]
        url = "{Deliveries.Url}"
        secret_file = "{_directory.File("secret")}"
        spool_dir = "{_directory.File("spool")}"
        which = "all"
        timeout_ms = {KeptDeliveries.TimeoutMs}
        max_bytes = "64Ki"

        """;
}
