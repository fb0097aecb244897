using System.CommandLine;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;
using System.Text.RegularExpressions;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>streaming-daemon(1) in mdoc(7), generated from the commands and the option table.</summary>
internal static partial class ManPage
{
    public static string FilePath { get; } = Path.GetFullPath(
        Path.Combine(Path.GetDirectoryName(Here())!, "..", "..", "..", "deploy", "debian", "streaming-daemon.1"));

    public static string Text()
    {
        var tree = new CommandTree(OptionTable.BuiltIn);
        var text = new StringBuilder(
            """
            .\" Written by tests/StreamingDaemon.Host.Tests/Configuration/ManPage.cs.
            .Dd %DATE%
            .Dt STREAMING-DAEMON 1
            .Os
            .Sh NAME
            .Nm streaming-daemon
            .Nd stream language models' answers to clients that Apache hands over
            .Sh SYNOPSIS
            .Nm
            .Op Ar options

            """);
        foreach (var command in tree.Root.Subcommands)
            text.Append($".Nm\n.Cm {command.Name}\n.Op Ar options\n");
        text.Append(
            """
            .Sh DESCRIPTION
            Apache passes a client's TCP socket over a Unix socket, and is free again at once.
            .Nm
            asks the model and streams the answer to that client as server-sent events.
            .Pp
            Without a command it is the daemon, in the foreground.
            The commands are:
            .Bl -tag -width health

            """);
        foreach (var command in tree.Root.Subcommands)
            text.Append($".It Cm {command.Name}\n{Escape(command.Description!)}.\n{Own(command)}");
        text.Append(".El\n.Sh OPTIONS\n.Bl -tag -width Ds\n");
        text.Append(".It Fl Fl config Ar FILE , Fl C Ar FILE\nTOML file to read.\n");
        foreach (var spec in OptionTable.BuiltIn.All.Where(spec => spec.Cli is not null))
        {
            var value = spec.Cli!.Value is null ? "" : $" Ar {spec.Cli.Value}";
            var brief = spec.Cli.Short is { } name ? $" , Fl {name[1..]}{value}" : "";
            text.Append($".It Fl Fl {spec.Cli.Long[2..]}{value}{brief}\n{About(spec)}");
        }

        text.Append(".El\n.Sh CONFIGURATION\nEach of these can be set in a file, or in the environment by its name "
            + "in capitals after\n.Ev STREAMING_DAEMON_ ,\nwith two underscores for the dot.\n"
            + "Some have a second name there, which other programs read too.\n"
            + ".Bl -tag -width Ds\n");
        foreach (var spec in OptionTable.BuiltIn.All.Where(spec => spec.Cli is null))
            text.Append($".It Ic {spec.DottedKey}\n{About(spec)}");
        text.Append(
            """
            .El
            .Sh FILES
            .Bl -tag -width Ds
            .It Pa /etc/streaming-daemon/config.toml
            The configuration file that is read if no other is named.
            .It Pa /etc/streaming-daemon/environment
            Variables that systemd passes, such as
            .Ev OPENAI_API_KEY .
            .El
            .Sh EXIT STATUS
            .Bl -tag -width 128+n
            .It 0
            Done; every stream has ended.
            .It 1
            The system refused something, or the loop failed; standard error says how to fix it.
            .It 2
            The command line or the configuration is wrong; a restart will not help.
            .It 128+n
            Ended by signal n: 130 and 143 for a second
            .Dv SIGINT
            or
            .Dv SIGTERM .
            .El
            .Sh SIGNALS
            .Bl -tag -width Ds
            .It Dv SIGTERM , Dv SIGINT
            Lets running streams end, for at most timeouts.shutdown_timeout_s; a second signal ends the daemon at once.
            .It Dv SIGHUP
            Reads the configuration again.
            Log level, timeouts, rate limits and the upstream's key change; the log names changes that need a restart.
            If it has a mistake, nothing changes.
            .El

            """);
        return text.ToString().Replace("%DATE%", Date(), StringComparison.Ordinal);
    }

    private static string About(OptionSpec spec) =>
        $"{Escape(spec.Description)}.\n{Escape(spec.Cost)}\nValues: {Escape(spec.Range)}; the default is\n"
        + $".Ql {Escape(spec.ToHelp(OptionTable.BuiltIn.Defaults))} .\n"
        + (spec.EnvAlias is { } name ? $"In the environment also\n.Ev {name} .\n" : "");

    /// <summary>The release's date in the form of mdoc(7), so that the page does not depend on the day.
    /// </summary>
    private static string Date()
    {
        var changes = Path.Combine(Path.GetDirectoryName(FilePath)!, "..", "..", "CHANGELOG.md");
        var released = File.ReadLines(changes).First(l => Released().IsMatch(l));
        var date = Released().Match(released).Groups[1].Value;
        return DateOnly.ParseExact(date, "yyyy-MM-dd", CultureInfo.InvariantCulture)
            .ToString("MMMM d, yyyy", CultureInfo.InvariantCulture);
    }

    [GeneratedRegex(@"^## \[[0-9.]+\] - ([0-9]{4}-[0-9]{2}-[0-9]{2})$")]
    private static partial Regex Released();

    /// <summary>The commands and options that only this command has.</summary>
    private static string Own(Command command) => command.Options.Count + command.Subcommands.Count == 0 ? "" :
        ".Bl -tag -width Ds\n" + string.Concat(command.Subcommands.Select(sub =>
            $".It Cm {sub.Name}{string.Concat(sub.Arguments.Select(argument => $" Op Ar {argument.Name}"))}\n"
            + $"{Escape(sub.Description!)}.\n{Own(sub)}"))
        + string.Concat(command.Options.Select(option =>
            $".It Fl Fl {option.Name[2..]}{(option.HelpName is { } value ? " Ar " + value : "")}\n"
            + $"{Escape(option.Description!)}.\n")) + ".El\n";

    /// <summary>Escapes backslashes for roff, and starts each sentence on a new line.</summary>
    private static string Escape(string text) => text.Replace(@"\", @"\e").Replace(". ", ".\n");

    private static string Here([CallerFilePath] string here = "") => here;
}
