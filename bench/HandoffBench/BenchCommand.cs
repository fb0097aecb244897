using System.CommandLine;
using System.Globalization;
using System.Text;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Report;
using StreamingDaemon.Bench.Streams;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench;

/// <summary>Compares the daemons of a command line.</summary>
internal sealed class BenchCommand(ParseResult arguments, BenchOptions options)
{
    /// <summary>Descriptors that the generator needs besides one per client.</summary>
    private const int OtherDescriptors = 200;

    /// <returns>0; 1 if a stream was not good; 2 if nothing could be measured.</returns>
    public int Run()
    {
        var results = new List<TrialResult>();
        using var floor = Value(options.Floor) is { } source ? new Floor(source) : null;
        foreach (var size in Sizes())
        {
            var load = PlanOf(size);
            var measured = Measure(load, floor);
            results.AddRange(measured);
            Console.WriteLine($"\n{Title(load, measured[0])}");
            Summary.Write(Console.Out, measured);
        }

        if (Value(options.Json) is { } json)
            JsonReport.Write(json, results);
        if (Value(options.Svg) is { } directory)
            Console.WriteLine(string.Join('\n', Plots.Write(directory, results)));
        return results.All(r => r.IsWhole) ? 0 : 1;
    }

    private List<TrialResult> Measure(LoadPlan load, Floor? floor)
    {
        var results = new List<TrialResult>();
        var plans = Plans(load);
        for (var round = 1; round <= Value(options.Rounds); round++)
        {
            var first = results.Count;
            foreach (var plan in plans)
            {
                using var trial = new Trial(plan);
                results.Add(trial.Run(round));
                Console.WriteLine(Line(results[^1]));
            }

            var unit = floor?.Measure(load.Slots, results[first].Expected.EventBytes, load.Tcp);
            foreach (var result in results.Skip(first))
                result.FloorMicroseconds = unit;
        }

        if (Value(options.Syscalls))
        {
            foreach (var plan in plans)
            {
                using var trial = new Trial(plan);
                results.Last(r => r.Plan.Label == plan.Label).Syscalls = trial.CountSyscalls();
            }
        }

        return results;
    }

    private List<TrialPlan> Plans(LoadPlan load)
    {
        var daemons = Value(options.Daemon) ?? [];
        var labels = Value(options.Label) ?? [];
        if (labels.Length > 0 && labels.Length != daemons.Length)
            throw new FormatException($"{daemons.Length} daemons and {labels.Length} labels");
        if (labels.Distinct().Count() != labels.Length)
            throw new FormatException("two daemons have the same label");
        if (Value(options.Cold) && Value(options.WarmUp) > 0)
            throw new FormatException("--cold and --warm-up contradict each other");
        return [.. daemons.Select((command, i) => new TrialPlan
        {
            Label = labels.Length > 0 ? labels[i] : $"{(char)('A' + i)}",
            Daemon = command,
            Upstream = Value(options.Upstream),
            Load = load,
            Shape = new AnswerShape(Value(options.Events), Value(options.Expect) == "mock"),
            WarmUp = Value(options.WarmUp),
            Cold = Value(options.Cold),
            Settle = TimeSpan.FromSeconds(Value(options.Settle)),
        })];
    }

    private LoadPlan PlanOf(int streams)
    {
        var load = new LoadPlan
        {
            Tcp = Value(options.Tcp),
            Streams = streams,
            Rate = Value(options.Rate),
            Concurrency = Value(options.Concurrency),
            Duration = TimeSpan.FromSeconds(Value(options.Duration)),
            Patience = TimeSpan.FromSeconds(Value(options.Patience)),
            Request = Encoding.UTF8.GetBytes(Value(options.Request)!),
            DelayMs = Value(options.DelayMs),
            ConnectFirst = Value(options.ConnectFirst),
            ReadAtEnd = Value(options.ReadAtEnd),
            Readers = ReadersOf(Value(options.Readers)!),
        };
        if (load is { ReadAtEnd: true, Readers: ReaderKind.Threads })
            throw new FormatException("--read-at-end is for --readers epoll");
        var limit = Native.RaiseDescriptorLimit();
        if (load.Descriptors + OtherDescriptors > limit)
        {
            throw new FormatException($"{load.Slots} streams at a time need more descriptors than the "
                + $"{limit} that are allowed: raise the hard limit (ulimit -Hn)");
        }

        return load;
    }

    private static ReaderKind ReadersOf(string name) => name switch
    {
        "epoll" => ReaderKind.Epoll,
        "threads" => ReaderKind.Threads,
        _ => throw new FormatException($"--readers: '{name}' is neither epoll nor threads"),
    };

    private IEnumerable<int> Sizes() => Value(options.Concurrency) > 0 ? [0]
        : Value(options.Streams)!.Split(',').Select(s =>
            int.TryParse(s, NumberStyles.None, CultureInfo.InvariantCulture, out var n) && n > 0
                ? n : throw new FormatException($"--streams: '{s}' is no number of streams"));

    private static string Title(LoadPlan load, TrialResult first) => string.Create(
        CultureInfo.InvariantCulture,
        $"{(load.IsClosedLoop ? $"{load.Concurrency} streams at a time for {load.Duration.TotalSeconds} s"
            : $"{load.Streams} streams, {(load.Rate > 0 ? $"{load.Rate} a second" : "all at once")}")}, "
        + $"{(load.Tcp ? "TCP loopback" : "Unix pairs")}, "
        + $"{(load.Readers == ReaderKind.Threads ? "a reader a connection" : "one reader for all")}"
        + $"{(first.Plan.Cold ? ", from cold" : "")}; {first.Expected.Events} content events, "
        + $"{first.Expected.Bytes.Length} bytes an answer; an event is the head, a content event or [DONE]");

    private static string Line(TrialResult r) => string.Create(CultureInfo.InvariantCulture,
        $"{r.Plan.Label}, round {r.Round}: {r.Load.Good} of {r.Load.Total} good, "
        + $"all in {r.Load.AllInSeconds:0.00} s, CPU {r.CpuSeconds:0.00} s, "
        + $"generator {r.OwnCpuSeconds:0.00} s");

    private T? Value<T>(Option<T> option) => arguments.GetValue(option);
}
