using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Tests.Configuration.Echo;

/// <summary>The backend "echo".</summary>
internal sealed class EchoDescriptor : BackendDescriptor<EchoOptions>
{
    public override string Name => "echo";

    public override string Summary => "echo repeats the prompt.";

    public override IReadOnlyList<BackendOption> Options { get; } =
    [
        Option("times", new IntegerValue(0, 100), o => o.Times, (o, v) => o with { Times = v },
            "Repetitions of the prompt",
            "Each is an event.") with
        {
            CommandLine = new("--echo-times", ValueName: "N"),
            Variable = "ECHO_TIMES",
        },
        Option("prefix", new NameValue("a word"), o => o.Prefix, (o, v) => o with { Prefix = v },
            "Stands before each repetition",
            "Shows that a text option works."),
    ];

    protected override EchoOptions DefaultOptions { get; } = new();

    protected override string? Validate(EchoOptions options) =>
        options.Times == 0 ? "nothing to repeat. Set ECHO_TIMES" : null;

    protected override IEnumerable<BackendCheck> Checks(EchoOptions options) =>
        [new("echo", () => new BackendFinding(true, $"repeats {options.Times} times"), "does not answer")];

    protected override int DescriptorsPerStream(EchoOptions options) => 2;

    protected override IStreamingBackend Create(EchoOptions options, BackendContext context) =>
        new EchoBackend(options);
}
