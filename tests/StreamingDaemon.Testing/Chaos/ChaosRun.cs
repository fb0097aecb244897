using System.Collections.Concurrent;
using System.Globalization;
using System.Net.Http;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>Progress of the run, and what the daemon holds.</summary>
public sealed record ChaosSample(long Handoffs, TimeSpan Elapsed, long ResidentKb, int Sockets);

/// <summary>
/// Random faults on both sides of a daemon, with many streams at a time. At the end, every handoff must have
/// exactly one outcome, nothing may be left open, and every client that reads to the end must have a complete
/// answer.
/// </summary>
public sealed partial class ChaosRun : IAsyncDisposable
{
    /// <summary>The daemon's timeout for a peer's message.</summary>
    public const int HandoffTimeoutMs = 500;

    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(20) };
    private static readonly UpstreamFate[] s_upstreamFates = Enum.GetValues<UpstreamFate>();
    private static readonly ClientFate[] s_clientFates = Enum.GetValues<ClientFate>();

    private readonly FakeLlmServer _upstream;
    private readonly ConcurrentDictionary<string, int> _complaints = new();
    private readonly long[] _fates = new long[s_clientFates.Length];
    private long _handoffs;
    private IReadOnlyList<string> _mockEvents = [];

    private ChaosRun(FakeLlmServer upstream, DaemonProcess daemon, TempDirectory directory, string file)
    {
        _upstream = upstream;
        _directory = directory;
        Operator = new ChaosOperator(daemon, file);
        Peer = new ChaosPeer(daemon.SocketPath);
        Daemon = daemon;
        SocketsAtRest = daemon.OpenSockets();
    }

    private readonly TempDirectory _directory;

    public DaemonProcess Daemon { get; }

    /// <summary>Reloads good and odd files during the run.</summary>
    public ChaosOperator Operator { get; }

    /// <summary>Keeps what it hands over, and misuses it.</summary>
    public ChaosPeer Peer { get; }

    public int SocketsAtRest { get; }

    public long Handoffs => Volatile.Read(ref _handoffs);

    /// <summary>The clients' complaints, with their numbers.</summary>
    public IReadOnlyDictionary<string, int> Complaints => _complaints;

    /// <summary>The number of clients with each fate.</summary>
    public IEnumerable<(ClientFate Fate, long Count)> Fates =>
        s_clientFates.Select(fate => (fate, Volatile.Read(ref _fates[(int)fate])));

    /// <summary>Starts upstream and daemon. All timeouts are short, so that each of them fires. Only the one
    /// for slow clients is as long as the stream's timeout allows: on a busy machine, a good reader must not
    /// count as slow.</summary>
    public static async Task<ChaosRun> StartAsync(int maxConnections, int rings = 1)
    {
        var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        upstream.Scenario = ChaosUpstream.AnswerAsync;
        var directory = new TempDirectory();
        var file = directory.File("chaos.toml");
        await File.WriteAllTextAsync(file, $"""
            [server]
            max_connections = {maxConnections}
            [streaming]
            head_wait_ms = 300
            [timeouts]
            handoff_timeout_ms = {HandoffTimeoutMs}
            first_token_timeout_ms = 700
            idle_timeout_ms = 600
            stream_timeout_ms = 3000
            write_timeout_ms = 2500
            [rate_limit]
            concurrent_streams = 6
            [mock]
            delay_ms = 10
            [performance]
            benchmark = true
            rings = {rings}
            """);
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-of-the-chaos",
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
        };
        ChaosRun? run = null;
        try
        {
            run = new ChaosRun(upstream, await DaemonProcess.StartAsync(
                environment, true, "--config", file, "--backend", "openai"), directory, file);
            await run.LearnMockAsync();
            return run;
        }
        catch
        {
            // Nothing of it may outlive the test.
            if (run is not null)
                await run.DisposeAsync();
            await upstream.DisposeAsync();
            directory.Dispose();
            throw;
        }
    }

    /// <summary>Reads one answer of the mock. All its answers are the same, except for the user id.</summary>
    private async Task LearnMockAsync()
    {
        Interlocked.Increment(ref _handoffs);
        using var client = TestClient.HandOver(Daemon.SocketPath, """{"prompt":"chaos","user_id":0,"backend":"mock"}""");
        var answer = await TestClient.ReadTextAsync(client);
        _mockEvents = [.. answer[(answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) + 4)..].Split("\n\n").SkipLast(2)];
        if (ChaosAnswer.Judge(System.Text.Encoding.UTF8.GetBytes(answer), _mockEvents) is not null
            || _mockEvents.Count != 18 || _mockEvents[1] != ChaosAnswer.Event("User ID: 0"))
        {
            throw new InvalidOperationException($"the mock's answer is none: {answer}");
        }
    }

    private string[] MockEvents(int user)
    {
        string[] events = [.. _mockEvents];
        events[1] = ChaosAnswer.Event($"User ID: {user}");
        return events;
    }

    /// <summary>Keeps that many streams running until <paramref name="goOn"/> returns false.</summary>
    public async Task PlayAsync(int atOnce, int seed, Func<long, bool> goOn)
    {
        var players = Enumerable.Range(0, atOnce).Select(i => Task.Run(async () =>
        {
            var random = new Random(seed + i);
            while (goOn(Handoffs))
                await PlayOneAsync(random);
        }));
        var playing = Task.WhenAll(players);
        await Task.WhenAll(playing, Operator.PlayAsync(seed, () => !playing.IsCompleted),
            Peer.PlayAsync(seed, () => Interlocked.Increment(ref _handoffs), () => !playing.IsCompleted));
    }

    private async Task PlayOneAsync(Random random)
    {
        // Half of the clients and upstreams behave well, to show that the faults do not affect others.
        var fate = random.Next(2) == 0 ? ClientFate.ReadsAll : s_clientFates[random.Next(s_clientFates.Length)];
        var upstream = random.Next(2) == 0 ? UpstreamFate.Whole : s_upstreamFates[random.Next(s_upstreamFates.Length)];
        var backend = random.Next(4) == 0 ? "mock" : "openai";
        var user = random.Next(0, 60);
        var json = $$"""
            {"prompt":"chaos","user_id":{{user}},"backend":"{{backend}}","test_pattern":"{{upstream}}"}
            """;
        Interlocked.Increment(ref _handoffs);
        Interlocked.Increment(ref _fates[(int)fate]);
        var result = await ChaosClient.PlayAsync(Daemon.SocketPath, fate, json, tcp: random.Next(8) == 0,
            backend == "mock" ? MockEvents(user) : ChaosUpstream.EventsOf(upstream));
        if (result.Complaint is { } complaint)
            _complaints.AddOrUpdate($"{fate}, {backend} {upstream}: {complaint}", 1, (_, count) => count + 1);
    }

    public ChaosSample Sample(TimeSpan elapsed) => new(Handoffs, elapsed, Daemon.ResidentKb(), Daemon.OpenSockets());

    /// <summary>Waits until every handoff has an outcome and the daemon has no clients left.</summary>
    /// <returns>Number of outcomes by <c>backend/outcome</c>.</returns>
    public async Task<IReadOnlyDictionary<string, long>> SettleAsync()
    {
        var deadline = Environment.TickCount64 + 30_000;
        while (true)
        {
            var metrics = await s_http.GetStringAsync(new Uri(Daemon.MetricsUri, "/metrics"));
            var outcomes = Outcome().Matches(metrics).ToDictionary(
                m => $"{m.Groups[1].Value}/{m.Groups[2].Value}",
                m => long.Parse(m.Groups[3].Value, CultureInfo.InvariantCulture));
            var isSettled = outcomes.Values.Sum() >= Handoffs && Daemon.OpenSockets() <= SocketsAtRest + KeptConnections()
                && metrics.Contains("streaming_daemon_connections_active 0", StringComparison.Ordinal);
            if (isSettled || Environment.TickCount64 > deadline)
                return outcomes;
            await Task.Delay(100);
        }
    }

    /// <summary>Number of connections kept open without a client: those to the upstream, and the one that
    /// asks for metrics.</summary>
    public int KeptConnections() =>
        ConnectionsOf.Count(Daemon.Pid, _upstream.BaseAddress.Port, Daemon.MetricsPort);

    public async ValueTask DisposeAsync()
    {
        await Daemon.DisposeAsync();
        await _upstream.DisposeAsync();
        _directory.Dispose();
    }

    [GeneratedRegex("""^streaming_daemon_streams_total\{backend="(\w+)",outcome="(\w+)"\} (\d+)$""", RegexOptions.Multiline)]
    private static partial Regex Outcome();
}
