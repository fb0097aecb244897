using System.CommandLine;
using System.Globalization;

namespace StreamingDaemon.Bench;

/// <summary>The command line of a measurement: each option with its default.</summary>
internal sealed class BenchOptions
{
    public Option<string[]> Daemon { get; } = Many("--daemon",
        "Command line of a daemon, with @SOCK@ for its socket, and, where it has them, @PORT@ for its "
        + "metrics and @UPORT@ for the upstream's port. NAME=value may stand before it. It runs in a "
        + "directory of its own: paths in its arguments must be absolute. Several are measured in turns");
    public Option<string[]> Label { get; } =
        Many("--label", "What reports call each daemon, in the same order");
    public Option<string?> Upstream { get; } = Text("--upstream",
        "Command line of an upstream, with @UPORT@; started beside each daemon", null);
    public Option<string> Streams { get; } = Text("--streams",
        "Open loop: streams in all; several, as 1000,5000, are measured one after the other", "1000")!;
    public Option<double> Rate { get; } =
        Number("--rate", "Open loop: arrivals a second; 0 is all at once", 0);
    public Option<int> Concurrency { get; } = Integer("--concurrency",
        "Closed loop: streams at a time, the next begun when one ends; 0 is the open loop", 0);
    public Option<double> Duration { get; } =
        Number("--duration", "Closed loop: seconds during which streams are begun", 10);
    public Option<bool> Tcp { get; } =
        new("--tcp") { Description = "Clients over TCP loopback instead of Unix pairs" };
    public Option<string> Request { get; } = Text("--request", "The handoff's JSON",
        """{"user_id":42,"prompt":"How fast are you?"}""")!;
    public Option<int> Events { get; } = Integer("--events", "Content events that an answer must have", 18);
    public Option<string> Expect { get; } = Text("--expect",
        "mock: the events' texts must follow the mock's scheme; any: any text will do", "mock")!;
    public Option<double> DelayMs { get; } =
        Number("--delay-ms", "Between two events at their source, ms: what gaps are compared with", 50);
    public Option<bool> ConnectFirst { get; } = new("--connect-first")
    { Description = "Open loop: make all clients before the clock runs; two descriptors each until handed over" };
    public Option<bool> ReadAtEnd { get; } = new("--read-at-end")
    { Description = "Read an answer once it has ended: cheaper, for goodput; no event is timed" };
    public Option<string> Readers { get; } = Text("--readers",
        "epoll: one thread reads all answers, which costs the machine least; threads: one for each open "
        + "connection, so that every event wakes somebody, as it wakes browsers", "epoll")!;
    public Option<bool> Cold { get; } = new("--cold")
    {
        Description = "The load's first stream is the daemon's first. The same load follows once more in the "
            + "same process, and both are compared; all other figures are of the first",
    };
    public Option<int> WarmUp { get; } = Integer("--warm-up", "Streams before the ones that count", 0);
    public Option<double> Settle { get; } =
        Number("--settle", "Seconds after the load until memory is looked at for the last time", 1);
    public Option<double> Patience { get; } =
        Number("--patience", "Seconds after the last arrival, then what is not over has failed", 60);
    public Option<int> Rounds { get; } = Integer("--rounds", "Runs of each daemon, in turns (ABAB)", 1);
    public Option<bool> Syscalls { get; } = new("--syscalls")
    { Description = "Count system calls, in a run of its own: by perf, or else by strace, of at most 500 streams" };
    public Option<string?> Floor { get; } = Text("--floor",
        "floor.c: compiled, run in each round, and taken as the unit", null);
    public Option<string?> Json { get; } = Text("--json", "Write every figure to this file", null);
    public Option<string?> Svg { get; } = Text("--svg", "Write plots into this directory", null);

    public IEnumerable<Option> All =>
    [
        Daemon, Label, Upstream, Streams, Rate, Concurrency, Duration, Tcp, Request, Events, Expect, DelayMs,
        ConnectFirst, ReadAtEnd, Readers, Cold, WarmUp, Settle, Patience, Rounds, Syscalls, Floor, Json, Svg,
    ];

    private static Option<string[]> Many(string name, string description) =>
        new(name) { Description = description, AllowMultipleArgumentsPerToken = false };

    private static Option<string?> Text(string name, string description, string? value) =>
        new(name) { Description = description, DefaultValueFactory = _ => value };

    private static Option<int> Integer(string name, string description, int value)
    {
        var option = new Option<int>(name) { Description = description, DefaultValueFactory = _ => value };
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && int.TryParse(result.Tokens[0].Value, out var given) && given < 0)
                result.AddError($"{name} must not be negative");
        });
        return option;
    }

    // Not the library's own parser of doubles, which follows the locale.
    private static Option<double> Number(string name, string description, double value) =>
        new(name)
        {
            Description = description,
            DefaultValueFactory = _ => value,
            CustomParser = result =>
            {
                if (double.TryParse(result.Tokens[^1].Value, NumberStyles.AllowDecimalPoint,
                    CultureInfo.InvariantCulture, out var number))
                {
                    return number;
                }

                result.AddError($"{name}: '{result.Tokens[^1].Value}' is no number of that kind");
                return value;
            },
        };
}
