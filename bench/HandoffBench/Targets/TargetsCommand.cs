using System.CommandLine;
using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Report;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Targets;

/// <summary>Every scenario, and one table: measured figures and targets.</summary>
internal static class TargetsCommand
{
    private enum Verdict
    {
        Reached,
        Missed,
        NotMeasured,
    }

    public static Command Create(Func<Func<int>, int> guard)
    {
        var daemon = new Option<string>("--binary") { Required = true, Description = "The daemon's binary" };
        var mockLlm = new Option<string>("--mock-llm")
        {
            Required = true,
            Description = "The mock LLM's binary",
        };
        var floor = new Option<string>("--floor") { Required = true, Description = "floor.c" };
        var quick = new Option<bool>("--quick") { Description = "Five of the loads, once each" };
        var only = new Option<string?>("--only") { Description = "Only loads whose name contains this text" };
        var json = new Option<string?>("--json") { Description = "Write every figure to this file" };
        var command = new Command("targets", "Measure this daemon under every load that has a target")
        {
            daemon, mockLlm, floor, quick, only, json,
        };
        command.SetAction(arguments => guard(() => Run(
            new Scenarios(
                arguments.GetValue(daemon)!, arguments.GetValue(mockLlm)!, arguments.GetValue(quick)),
            arguments.GetValue(floor)!, arguments.GetValue(only) ?? "", arguments.GetValue(json))));
        return command;
    }

    /// <returns>0 if every target is reached; 1 if one is missed or unknown.</returns>
    private static int Run(Scenarios scenarios, string floorSource, string only, string? json)
    {
        _ = Native.RaiseDescriptorLimit();
        using var floor = new Floor(floorSource);
        var results = new List<TrialResult>();
        int missed = 0, unmeasured = 0;
        var begun = Stopwatch.GetTimestamp();
        Console.WriteLine($"{"load",-30}{"figure",-42}{"measured",12}{"target",12}");
        bool IsWanted(string name) => name.Contains(only, StringComparison.Ordinal);
        foreach (var verdict in scenarios.All().Where(s => IsWanted(s.Name)).SelectMany(s => Judge(s, floor, results))
            .Concat(scenarios.Comparisons().Where(c => IsWanted(c.Name)).SelectMany(c => Judge(c, results))))
        {
            missed += verdict == Verdict.Missed ? 1 : 0;
            unmeasured += verdict == Verdict.NotMeasured ? 1 : 0;
        }

        var seconds = Stopwatch.GetElapsedTime(begun).TotalSeconds;
        Console.WriteLine($"{missed} missed, {unmeasured} not measured, in {seconds:0} s");
        if (json is not null)
            JsonReport.Write(json, results);
        return missed + unmeasured == 0 ? 0 : 1;
    }

    private static List<Verdict> Judge(Scenario scenario, Floor floor, List<TrialResult> results) =>
        OrNotMeasured(scenario.Name, scenario.Targets.Count, () =>
        {
            var trials = Measure(scenario, floor);
            results.AddRange(trials);
            return Write(scenario, trials);
        });

    private static List<Verdict> Judge(Comparison comparison, List<TrialResult> results) =>
        OrNotMeasured(comparison.Name, comparison.Targets.Count, () =>
        {
            var rounds = new List<IReadOnlyList<TrialResult>>();
            for (var round = 1; round <= comparison.Rounds; round++)
            {
                rounds.Add([.. comparison.Plans.Select(plan =>
                {
                    using var trial = new Trial(plan);
                    return trial.Run(round);
                })]);
                results.AddRange(rounds[^1]);
            }

            return Write(comparison, rounds);
        });

    private static List<Verdict> OrNotMeasured(string name, int targets, Func<List<Verdict>> measure)
    {
        try
        {
            return measure();
        }
        catch (Exception exception)
            when (exception is InvalidOperationException or TimeoutException or SystemCallException)
        {
            // The other loads are still worth measuring.
            Console.WriteLine($"{name,-30}not measured: {exception.Message}");
            return [.. Enumerable.Repeat(Verdict.NotMeasured, targets)];
        }
    }

    private static List<TrialResult> Measure(Scenario scenario, Floor floor)
    {
        var results = new List<TrialResult>();
        for (var round = 1; round <= scenario.Rounds; round++)
        {
            using var trial = new Trial(scenario.Plan);
            results.Add(trial.Run(round));
            results[^1].FloorMicroseconds = floor.Measure(
                scenario.Plan.Load.Slots, results[^1].Expected.EventBytes, scenario.Plan.Load.Tcp);
        }

        if (scenario.CountsSyscalls)
        {
            using var trial = new Trial(scenario.Plan);
            results[0].Syscalls = trial.CountSyscalls();
        }

        return results;
    }

    private static List<Verdict> Write(Scenario scenario, List<TrialResult> trials)
    {
        var verdicts = scenario.Targets.Select(target =>
            Row(scenario.Name, target.Name, Summary.Median(trials.Select(target.Value)), target.Most)).ToList();

        // Context needed to read the figures above.
        foreach (var name in (string[])["log lines a stream", "CPU a stream, us", "page faults a stream",
            "page faults, next as many", "head p95, ms", "system calls a token", "all in, s",
            "open at a time, at most", "floor, us an event", "generator's CPU, s", "upstream's CPU, s",
            "cores left idle", "stolen by the host, % of busy time"])
        {
            var value = Summary.Median(trials.Select(Figure.All.Single(f => f.Name == name).Value));
            if (value is not null && scenario.Targets.All(t => t.Name != name))
                Row(scenario.Name, name, value);
        }

        return verdicts;
    }

    private static List<Verdict> Write(Comparison comparison, List<IReadOnlyList<TrialResult>> rounds)
    {
        var verdicts = comparison.Targets.Select(target =>
            Row(comparison.Name, target.Name, Summary.Median(rounds.Select(target.Value)), target.Most)).ToList();
        foreach (var name in comparison.Shown)
        {
            var value = Figure.All.Single(f => f.Name == name).Value;
            for (var i = 0; i < comparison.Plans.Count; i++)
            {
                Row(comparison.Name, $"{comparison.Plans[i].Label}: {name}",
                    Summary.Median(rounds.Select(results => value(results[i]))));
            }
        }

        return verdicts;
    }

    private static Verdict Row(string scenario, string figure, double? value, double? most = null)
    {
        var verdict = value is null ? Verdict.NotMeasured : value > most ? Verdict.Missed : Verdict.Reached;
        var (target, word) = most is null ? ("", "") : (Figure.Show(most), verdict switch
        {
            Verdict.Missed => "missed",
            Verdict.NotMeasured => "not measured",
            _ => "",
        });
        Console.WriteLine($"{scenario,-30}{figure,-42}{Figure.Show(value),12}{target,12}  {word}".TrimEnd());
        return verdict;
    }
}
