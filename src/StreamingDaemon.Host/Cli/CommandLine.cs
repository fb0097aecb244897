using System.CommandLine;
using System.CommandLine.Help;
using System.Net.Sockets;
using StreamingDaemon.Host.Commands;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Cli;

/// <summary>
/// From arguments to an exit code: 0 done, 1 failed while running, 2 wrong usage. A process ended by a signal
/// has 128 plus the signal's number.
/// </summary>
internal static class CommandLine
{
    public const string ProgramName = "streaming-daemon";

    private const int StandardError = 2;

    public static Task<int> InvokeAsync(
        string[] args, ICliActions actions, CancellationToken cancellationToken = default) =>
        InvokeAsync(args, actions, CliSurroundings.OfProcess(), cancellationToken);

    public static async Task<int> InvokeAsync(
        string[] args,
        ICliActions actions,
        CliSurroundings surroundings,
        CancellationToken cancellationToken)
    {
        try
        {
            return await ParseAndInvokeAsync(args, actions, surroundings, cancellationToken);
        }
        catch (ConfigurationException e)
        {
            return Refuse(surroundings.Error, e.Errors);
        }
        catch (Exception e) when (LastWords.Explain(e) is not null)
        {
            Say(surroundings.Error, LastWords.Explain(e)!);
            return ExitCode.Failure;
        }
        catch (Exception e) when (e is IOException or SocketException or UnauthorizedAccessException)
        {
            // The machine's fault, not the program's: a sentence explains it, a stack trace does not.
            Say(surroundings.Error, e.Message);
            return ExitCode.Failure;
        }
    }

    private static async Task<int> ParseAndInvokeAsync(
        string[] args,
        ICliActions actions,
        CliSurroundings surroundings,
        CancellationToken cancellationToken)
    {
        var tree = new CommandTree(surroundings.Sources.Table);
        Connect(tree, actions, surroundings);
        // "@file" is a prompt or a path like any other.
        var result = tree.Root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null });
        var invocation = new InvocationConfiguration
        {
            Output = surroundings.Output,
            Error = surroundings.Error,
            EnableDefaultExceptionHandler = false,
            // Otherwise the library handles SIGTERM, and kills a draining daemon after two seconds.
            ProcessTerminationTimeout = null,
        };
        if (result.Action is HelpAction)
        {
            await result.InvokeAsync(invocation, cancellationToken);
            await surroundings.Output.WriteAsync(HelpText.Epilogue(
                surroundings.Sources.Table, surroundings.Sources.SearchPaths));
            return ExitCode.Success;
        }
        if (result.GetValue(tree.Version))
        {
            await surroundings.Output.WriteLineAsync(
                $"{ProgramName} {DaemonVersion.Text} ({DaemonVersion.Revision})");
            return ExitCode.Success;
        }
        var problems = HelpText.Explain(tree, result).ToList();
        if (problems.Count > 0)
            return Refuse(surroundings.Error, problems);
        return await result.InvokeAsync(invocation, cancellationToken);
    }

    private static void Connect(CommandTree tree, ICliActions actions, CliSurroundings surroundings)
    {
        var sources = surroundings.Sources;
        // Read again, in a thread of the daemon's own.
        tree.Root.SetAction((result, cancel) => actions.RunAsync(
            Load(tree, result, sources), () => Read(tree, result, sources), cancel));
        tree.Check.SetAction((result, cancel) =>
        {
            var json = result.GetValue(tree.Json);
            try
            {
                return actions.CheckAsync(
                    Load(tree, result, sources), json, result.GetValue(tree.Upstream),
                    result.GetValue(tree.Apache) is [.., var url] ? url : null, cancel);
            }
            catch (ConfigurationException e) when (json)
            {
                // A reader of JSON needs it most if something is wrong.
                CheckReport.Write(surroundings.Output, CheckReport.Of(e), json);
                return Task.FromResult(ExitCode.Usage);
            }
        });
        tree.Health.SetAction((result, cancel) =>
            actions.HealthAsync(LoadToAsk(tree, result, sources), result.GetValue(tree.Json), cancel));
        tree.Demo.SetAction((result, cancel) =>
        {
            var port = new CliReader(tree, result).Port();
            return actions.DemoAsync(Load(tree, result, sources), port, result.GetValue(tree.Once), cancel);
        });
        ConnectDeliveries(tree, actions, sources);
        tree.Send.SetAction((result, cancel) =>
        {
            var reader = new CliReader(tree, result);
            var (prompt, data) = reader.Message();
            var timeout = reader.Timeout();
            // If the socket is named, no configuration is needed; the caller may not be allowed to read it.
            var socket = reader.Socket() ?? LoadToAsk(tree, result, sources).Server.Socket;
            return actions.SendAsync(socket, prompt, data, timeout, cancel);
        });
    }

    private static void ConnectDeliveries(CommandTree tree, ICliActions actions, ConfigurationSources sources)
    {
        tree.ListDeliveries.SetAction((result, cancel) => actions.DeliveriesAsync(
            LoadToAsk(tree, result, sources), DeliveriesAct.List, null, result.GetValue(tree.Json), cancel));
        Connect(tree.RetryDeliveries, DeliveriesAct.Retry);
        Connect(tree.DropDeliveries, DeliveriesAct.Drop);

        void Connect(Command command, DeliveriesAct act) => command.SetAction((result, cancel) =>
        {
            var id = new CliReader(tree, result).DeliveryId();
            return actions.DeliveriesAsync(LoadToAsk(tree, result, sources), act, id, json: false, cancel);
        });
    }

    /// <summary>In a thread that may hang, with a time limit.</summary>
    private static DaemonOptions Load(CommandTree tree, ParseResult result, ConfigurationSources sources) =>
        ConfigurationRead.Load(() => Read(tree, result, sources));

    /// <summary>For commands beside a daemon that runs: they need no key, and may not be able to read it.
    /// </summary>
    private static DaemonOptions LoadToAsk(
        CommandTree tree, ParseResult result, ConfigurationSources sources) => ConfigurationRead.Load(
        () => DaemonOptionsLoader.Load(new CliReader(tree, result).Values(), sources, withSecrets: false));

    private static DaemonOptions Read(CommandTree tree, ParseResult result, ConfigurationSources sources) =>
        DaemonOptionsLoader.Load(new CliReader(tree, result).Values(), sources);

    private static int Refuse(TextWriter error, IEnumerable<string> problems)
    {
        foreach (var problem in problems)
            Say(error, problem);
        return ExitCode.Usage;
    }

    /// <summary>Reports what is wrong; if nothing reads the report, it gives up soon.</summary>
    internal static void Say(TextWriter error, string problem) => RunWithTimeout.Invoke(() =>
    {
        try
        {
            // The problem may quote a path or a server.
            error.WriteLine($"{ProgramName}: {PrintedText.Harmless(problem)}");
        }
        catch (Exception e) when (LastWords.Explain(e) is not null)
        {
            // The runtime's console needs system resources before its first word.
            LastWords.Say(problem);
        }
    }, TimeSpan.FromSeconds(2));
}
