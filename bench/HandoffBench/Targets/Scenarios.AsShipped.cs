using System.Globalization;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Targets;

/// <summary>The daemon as users run it: no option but the socket, the metrics and the backend; a JSON line in
/// a log file for each stream; arrivals that are spread.</summary>
internal sealed partial class Scenarios
{
    private string Shipped => $"{daemon} --socket @SOCK@ --metrics @PORT@";

    private IEnumerable<Scenario> AsShipped()
    {
        yield return Cold();
        if (isQuick)
            yield break;
        yield return ColdWithReaders();
        yield return Spread(1_000, 5_000, mostFloors: 6);
        yield return Spread(200, 1_000, mostFloors: 14);
        yield return SpreadUpstream();
        yield return UpstreamAtOnce();
    }

    // Twenty events that leave together: nearly all of it is a stream's beginning and end.
    private Scenario Cold() => new("as shipped, cold, short", ShippedMock(0) with
    {
        Cold = true,
        Load = Load(2_000, 2_000, 0),
    },
    [
        Target.NoneLost,
        Target.Of("CPU a stream, first of next", 1.2),
        Target.Of("CPU a stream, floors", 80),
    ])
    { Rounds = Rounds };

    private Scenario ColdWithReaders() => new("as shipped, cold, readers", ShippedMock(50) with
    {
        Cold = true,
        Load = Load(5_000, 1_000, 50) with { Readers = ReaderKind.Threads },
    },
    [
        Target.NoneLost,
        Target.Of("CPU a stream, first of next", 1.2),
        // The best other daemon of this job needed 575 us with a floor of 2.7.
        Target.Of("CPU a stream, floors", 213),
    ])
    { Rounds = Rounds };

    private Scenario Spread(int rate, int streams, double mostFloors) => new(
        $"as shipped, mock, {rate} a s", ShippedMock(50) with { Load = Load(streams, rate, 50) },
        [
            Target.NoneLost,
            Target.Of("CPU an event, floors", mostFloors),
            Target.Of("gap p50, ms", 50.1),
        ])
    { Rounds = Rounds };

    private Scenario SpreadUpstream() => new("as shipped, upstream, 1000 a s",
        ShippedUpstream(50) with { Load = Load(4_000, 1_000, 50) },
        [Target.NoneLost, Target.Of("CPU an event, floors", 10)])
    { Rounds = Rounds };

    private Scenario UpstreamAtOnce() => new("as shipped, upstream, 10000",
        ShippedUpstream(50) with { Load = Load(10_000, 0, 50) },
        [Target.NoneLost, Target.Of("CPU a stream, floors", 250)])
    { Rounds = Rounds };

    private TrialPlan ShippedMock(int delayMs) => new()
    {
        Label = "streaming-daemon",
        Daemon = string.Create(CultureInfo.InvariantCulture, $"{Shipped} --delay {delayMs}"),
        Load = Load(0, 0, delayMs),
        Shape = new AnswerShape(18, IsMock: true),
    };

    private TrialPlan ShippedUpstream(int delayMs) => WithUpstream(0, 18, delayMs) with
    {
        Daemon = $"{UpstreamSettings} {Shipped} --backend openai",
        WarmUp = 0,
    };
}
