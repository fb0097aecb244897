using System.CommandLine;
using System.CommandLine.Help;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Cli;

/// <summary>
/// The commands and their options. Values are read as text and the option table judges them, so that a flag,
/// a variable and a line of a file get the same error messages.
/// </summary>
internal sealed class CommandTree
{
    public const int DefaultDemoPort = 8080;
    public static readonly IntType DemoPort = new(0, 65_535, zero: "any free one");

    /// <summary>Seconds: a daemon that runs ends every stream by itself before that
    /// (<c>timeouts.stream_timeout_ms</c>, 300 s).</summary>
    public const int DefaultSendTimeout = 330;
    public static readonly IntType SendTimeout = new(0, 86_400, zero: "no limit");

    public RootCommand Root { get; } = new("Streams LLM answers to clients that Apache hands over.");
    public Command Check { get; } =
        new("check", "Read the configuration, look at the machine, and say what is missing");
    public Command Health { get; } =
        new("health", "Ask the running daemon whether it is ready; exit code 0 if it is");
    public Command Demo { get; } = new("demo", "Serve a page to try the daemon from, without Apache");
    public Command Send { get; } =
        new("send", "Hand one connection over as Apache would, and print the answer");

    public Command Deliveries { get; } =
        new("deliveries", "List the answers that wait to be delivered, send them again, or drop them");
    public Command ListDeliveries { get; } = new("list", "List what waits, and what is dead");
    public Command RetryDeliveries { get; } =
        new("retry", "Send again what waits or is dead: one by its id, or all");
    public Command DropDeliveries { get; } =
        new("drop", "Delete what waits or is dead: one by its id, or all");

    public Argument<string?> DeliveryId { get; } = new("ID")
    {
        Arity = ArgumentArity.ZeroOrOne,
        Description = "The delivery, as the list names it",
    };

    public Option<bool> AllDeliveries { get; } = new("--all") { Description = "All of them" };

    public Option<string[]> Config { get; } =
        Value("--config", "-C", "FILE", "TOML file; without it the first that exists of the files below");
    public Option<bool> Version { get; } =
        new("--version", "-v") { Recursive = true, Description = "Print the version and exit" };
    public Option<bool> Json { get; } = new("--json") { Description = "Print the findings as JSON" };
    public Option<bool> Upstream { get; } = new("--upstream")
    {
        Description = "Ask the model's server for one token too, and say how that went",
    };
    public Option<string[]> Apache { get; } = Value("--apache", null, "URL",
        "Ask the site's doctor.php at this address too, and through it for one streamed answer");
    public Option<string[]> Port { get; } =
        Value("--port", null, "N", $"Port of the page; {DemoPort.Range} [default: {DefaultDemoPort}]");
    public Option<bool> Once { get; } = new("--once") { Description = "Exit after the first stream" };
    public Option<string[]> Prompt { get; } = Value("--prompt", null, "TEXT", "What to ask");
    public Option<string[]> Data { get; } = Value("--data", null, "JSON", "The handoff's JSON object");
    public Option<string[]> Timeout { get; } = Value("--timeout", null, "SECONDS",
        $"Longest that the whole answer may take; without a limit {DefaultSendTimeout} s of silence end it; "
        + $"{SendTimeout.Range} [default: {DefaultSendTimeout}]");

    /// <summary>The options of the table with a command-line name, each with its spec.</summary>
    public IReadOnlyList<(OptionSpec Spec, Option<string[]> Option)> Table { get; }

    public CommandTree(OptionTable table)
    {
        Root.HelpName = "streaming-daemon";
        // The library's own help option adds "/h" and "-?", and its --version has no -v.
        Root.Options.Clear();
        Table =
        [
            .. table.All.Where(spec => spec.Cli is not null)
                .Select(spec => (spec, Make(spec, table.Defaults))),
        ];
        foreach (var (_, option) in Table)
            Root.Add(option);
        Config.Recursive = true;
        Root.Add(Config);
        Root.Add(new HelpOption("--help", "-h") { Description = "Print this and exit" });
        Root.Add(Version);

        Check.Add(Json);
        Check.Add(Upstream);
        Check.Add(Apache);
        Health.Add(Json);
        Demo.Add(Port);
        Demo.Add(Once);
        Send.Add(Prompt);
        Send.Add(Data);
        Send.Add(Timeout);
        ListDeliveries.Add(Json);
        foreach (var command in (Command[])[RetryDeliveries, DropDeliveries])
        {
            command.Add(DeliveryId);
            command.Add(AllDeliveries);
        }

        foreach (var command in (Command[])[ListDeliveries, RetryDeliveries, DropDeliveries])
            Deliveries.Add(command);
        Root.Add(Check);
        Root.Add(Health);
        Root.Add(Demo);
        Root.Add(Send);
        Root.Add(Deliveries);
    }

    /// <summary>Every word that the command of <paramref name="result"/> knows, long names and
    /// short.</summary>
    public IEnumerable<string> NamesFor(ParseResult result) =>
        Root.Options.Concat(result.CommandResult.Command.Options)
            .SelectMany(option => option.Aliases.Append(option.Name))
            .Concat(Root.Subcommands.Concat(result.CommandResult.Command.Subcommands)
                .Select(command => command.Name));

    private static Option<string[]> Make(OptionSpec spec, DaemonOptions defaults)
    {
        var name = spec.Cli!;
        var help = spec.ToHelp(defaults);
        if (name.Value is null)
        {
            var described = $"{spec.Description} [default: {help}]";
            // Not an Option<bool>, which accepts only true and false.
            return new Option<string[]>(name.Long, name.Short is null ? [] : [name.Short])
            {
                Recursive = true,
                Arity = ArgumentArity.ZeroOrMore,
                HelpName = "true|false",
                Description = described,
            };
        }
        var option = Value(
            name.Long, name.Short, name.Value, $"{spec.Description}; {spec.Range} [default: {help}]");
        option.Recursive = true;
        return option;
    }

    /// <summary>
    /// An option with a value. It may be repeated; the last one wins, as with getopt, so a wrapper's options
    /// can be overridden by appending.
    /// </summary>
    private static Option<string[]> Value(
        string name, string? shortName, string value, string description) =>
        new(name, shortName is null ? [] : [shortName])
        {
            Arity = ArgumentArity.OneOrMore,
            HelpName = value,
            Description = description,
        };
}
