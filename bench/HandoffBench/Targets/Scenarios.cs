using System.Globalization;
using System.Text;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Targets;

/// <summary>The loads that docs/performance.md describes, with this daemon's binary and the mock
/// LLM.</summary>
internal sealed partial class Scenarios(string daemon, string mockLlm, bool isQuick)
{
    private const string UpstreamSettings =
        "OPENAI_API_KEY=none OPENAI_INSECURE_SSL=true OPENAI_API_BASE=https://127.0.0.1:@UPORT@/v1";

    private readonly string _common = $"{daemon} --socket @SOCK@ --metrics @PORT@ --max-connections 18000";

    // The median of three: time that the host takes from one of them is not the daemon's.
    private int Rounds => isQuick ? 1 : 3;

    public IEnumerable<Scenario> All()
    {
        foreach (var scenario in AsShipped())
            yield return scenario;
        yield return Burst();
        yield return Paced(5_000, 50);
        if (!isQuick)
            yield return Paced(15_000, 200);
        if (!isQuick)
            yield return Steady();
        yield return Memory();
        yield return Upstream("upstream, 2000 x 18", 2_000, chunks: 18, delayMs: 50);
        if (isQuick)
            yield break;
        yield return Upstream("upstream, 10000 x 18", 10_000, chunks: 18, delayMs: 250);
        yield return LongAnswers();
        yield return Latency();
    }

    /// <summary>Empty if there is no time for them.</summary>
    public IEnumerable<Comparison> Comparisons() => isQuick ? [] : [Growth(), Overload(), TwoRings()];

    private Comparison Growth() => new("growth, mock, 250 ms",
        [.. ((int[])[1_000, 5_000, 10_000, 15_000]).Select(n => Mock(n, 250) with { Label = $"{n} streams" })],
        [
            ComparedTarget.NoneLost,
            ComparedTarget.Spread("CPU a stream, us", 1.15),
            ComparedTarget.Spread("memory a stream, KB", 1.15),
        ])
    {
        Rounds = Rounds,
        Shown = ["CPU a stream, us", "memory a stream, KB"],
    };

    // An answer takes 190 ms, so 500 at once are some 2600 a second.
    private Comparison Overload() => new("overload, 500 connections",
        [.. ((int[])[2_300, 5_200]).Select(rate => Mock(15_000, 10) with
        {
            Label = $"{rate} a second",
            Daemon = $"{_common} --delay 10 --max-connections 500",
            Load = Load(15_000, rate, 10),
        })],
        [
            ComparedTarget.NoneLost,
            new("goodput lost at twice the load", 0.1, results =>
                1 - ComparedTarget.Goodput(results[^1]) / results.Max(ComparedTarget.Goodput)),
        ])
    {
        Shown = ["good streams a second"],
    };

    // Over TCP, the kernel carries a packet to its receiver in the sender's time: there the loop fills a
    // core. The generator has the same two cores, so it connects before, and reads an answer at its end.
    private Comparison TwoRings() => new("rings, 8000 mock, 20 ms, TCP",
        [.. ((int[])[1, 2]).Select(rings => Mock(8_000, 20) with
        {
            Label = rings == 1 ? "1 ring" : $"{rings} rings",
            Daemon = $"{_common} --delay 20 --rings {rings}",
            Load = Load(8_000, 0, 20) with { Tcp = true, ConnectFirst = true, ReadAtEnd = true },
        })],
        [
            ComparedTarget.NoneLost,
            // Two rings serve 1.6 times as many.
            new("goodput of one ring, of that of two", 0.625, results =>
                ComparedTarget.Goodput(results[0]) / ComparedTarget.Goodput(results[1])),
        ])
    {
        Rounds = 3,
        Shown = ["good streams a second", "CPU a stream, us", "generator's CPU, s"],
    };

    private Scenario Burst() => new("burst, 5000, no delay", Mock(5_000, 0),
        [Target.NoneLost, Target.Of("CPU a stream, us", 60)])
    { Rounds = Rounds };

    private Scenario Paced(int streams, int delayMs) =>
        new($"paced mock, {streams}, {delayMs} ms", Mock(streams, delayMs),
        [
            Target.NoneLost,
            Target.Of("CPU an event, floors", 3),
            Target.Of("gap error p99, ms", 5),
            .. isQuick ? (Target[])[] : [Target.Of("enter and wake calls a token", 0.1)],
        ])
        { CountsSyscalls = !isQuick, Rounds = Rounds };

    // As many come as go: the allocations are those of the steady state, and about a core stays idle.
    private Scenario Steady() => new("mock, 2000 a second, 50 ms", Mock(16_000, 50) with
    {
        Load = Load(16_000, 2_000, 50),
    },
    [
        Target.NoneLost,
        Target.Of("gap error p99, ms", 5),
        Target.Of("allocated a token, B", 64),
    ])
    { Rounds = Rounds };

    private Scenario Memory() => new("memory, 5000 paced mock", Mock(5_000, 100) with
    {
        Settle = TimeSpan.FromSeconds(isQuick ? 10 : 60),
    },
    [
        Target.Of("memory at rest, MB", 30),
        Target.Of("memory a stream, KB", 2.5),
        new("memory at the end, of that at rest", 1.2,
            r => (double)r.Settled.ResidentKb / r.AtRest.ResidentKb),
        Target.Of("allocated a token, B", 64),
    ]);

    private Scenario Upstream(string name, int streams, int chunks, int delayMs) =>
        new(name, WithUpstream(streams, chunks, delayMs),
        [
            Target.NoneLost,
            Target.Of("CPU a stream, us", 600),
            Target.Of("head p99, ms", 2),
            Target.Of("first token p99, ms", 10),
            Target.Of("memory a stream, KB", 12),
            Target.Of("allocated a token, B", 512),
        ])
        { Rounds = Rounds };

    private Scenario LongAnswers() => new("upstream, 1000 x 180", WithUpstream(1_000, 180, 20),
    [
        Target.NoneLost,
        new("CPU a token, us", 13, r => r.CpuSeconds * 1e6 / r.Tokens),
        Target.Of("allocated a token, B", 512),
    ])
    { Rounds = Rounds };

    // How long a new client waits if the cores are not full: generator and upstream have the same two.
    private Scenario Latency() => new("upstream, 400 a second, 50 ms", WithUpstream(2_000, 18, 50, rate: 400),
    [
        Target.NoneLost,
        Target.Of("head p99, ms", 2),
        Target.Of("first token p99, ms", 10),
        Target.Of("allocated a token, B", 512),
    ])
    { Rounds = Rounds };

    private TrialPlan Mock(int streams, int delayMs) => new()
    {
        Label = "streaming-daemon",
        Daemon = string.Create(CultureInfo.InvariantCulture, $"{_common} --delay {delayMs}"),
        Load = Load(streams, 0, delayMs),
        Shape = new AnswerShape(18, IsMock: true),
    };

    // Arrivals at a rate, not all at once: a head's latency should be the daemon's, not the queue's. It is
    // the slowest rate at which the first stream still runs when the last has come.
    private TrialPlan WithUpstream(int streams, int chunks, int delayMs, int rate = 2_400) => new()
    {
        Label = "streaming-daemon",
        Daemon = $"{UpstreamSettings} STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS=0 {_common} --backend openai",
        Upstream = string.Create(CultureInfo.InvariantCulture,
            $"{mockLlm} --port @UPORT@ --tls --chunks {chunks} --delay-ms {delayMs}"),
        Load = Load(streams, rate, delayMs),
        Shape = new AnswerShape(chunks, IsMock: false),
        WarmUp = 200,
    };

    private static LoadPlan Load(int streams, double rate, int delayMs) => new()
    {
        Streams = streams,
        Rate = rate,
        DelayMs = delayMs,
        Patience = TimeSpan.FromSeconds(40),
        Request = Encoding.UTF8.GetBytes("""{"user_id":42,"prompt":"How fast are you?"}"""),
    };
}
