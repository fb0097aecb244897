using System.CommandLine;
using System.Runtime.CompilerServices;
using System.Text;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>streaming-daemon(1), in mdoc(7), as the commands and the option table would write it.</summary>
internal static class ManPage
{
    public static string FilePath { get; } = Path.GetFullPath(
        Path.Combine(Path.GetDirectoryName(Here())!, "..", "..", "..", "deploy", "debian", "streaming-daemon.1"));

    public static string Text()
    {
        var tree = new CommandTree();
        var text = new StringBuilder(
            """
            .\" Written by tests/StreamingDaemon.Host.Tests/Configuration/ManPage.cs.
            .Dd $Mdocdate$
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
        foreach (var spec in OptionTable.All.Where(spec => spec.Cli is not null))
        {
            var value = spec.Cli!.Value is null ? "" : $" Ar {spec.Cli.Value}";
            var brief = spec.Cli.Short is { } name ? $" , Fl {name[1..]}{value}" : "";
            text.Append($".It Fl Fl {spec.Cli.Long[2..]}{value}{brief}\n{About(spec)}");
        }

        text.Append(".El\n.Sh CONFIGURATION\nEach of these can be set in a file, or in the environment by its name "
            + "in capitals after\n.Ev STREAMING_DAEMON_ ,\nwith two underscores for the dot.\n"
            + ".Bl -tag -width Ds\n");
        foreach (var spec in OptionTable.All.Where(spec => spec.Cli is null))
            text.Append($".It Ic {spec.DottedKey}\n{About(spec)}");
        text.Append(
            """
            .El
            .Sh FILES
            .Bl -tag -width Ds
            .It Pa /etc/streaming-daemon/config.toml
            What is read where no file is named.
            .It Pa /etc/streaming-daemon/environment
            Variables that systemd passes, such as
            .Ev OPENAI_API_KEY .
            .El
            .Sh EXIT STATUS
            0: done; 1: failed while running; 2: wrong command line or configuration.
            .Sh SIGNALS
            .Dv SIGTERM
            and
            .Dv SIGINT
            let running streams end; a second one ends at once.

            """);
        return text.ToString();
    }

    private static string About(OptionSpec spec) =>
        $"{Escape(spec.Description)}.\n{Escape(spec.Cost)}\nValues: {Escape(spec.Range)}; the default is\n"
        + $".Ql {Escape(spec.ToHelp(OptionTable.Defaults))} .\n";

    /// <summary>The options that only this command has.</summary>
    private static string Own(Command command) => command.Options.Count == 0 ? "" :
        ".Bl -tag -width Ds\n" + string.Concat(command.Options.Select(option =>
            $".It Fl Fl {option.Name[2..]}{(option.HelpName is { } value ? " Ar " + value : "")}\n"
            + $"{Escape(option.Description!)}.\n")) + ".El\n";

    /// <summary>A backslash begins an escape of roff's, and a sentence begins a line of its own.</summary>
    private static string Escape(string text) => text.Replace(@"\", @"\e").Replace(". ", ".\n");

    private static string Here([CallerFilePath] string here = "") => here;
}
