using StreamingDaemon.Host.Answers.Shared;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Delivery;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary>Runs the commands.</summary>
internal sealed class CliActions : ICliActions
{
    public Task<int> RunAsync(
        DaemonOptions options, Func<DaemonOptions> reread, CancellationToken cancellationToken) =>
        Explained(async () =>
        {
            StartNeeds.Demand(
                DaemonHost.ServerOptionsOf(options), servesHttp: options.Monitoring.MetricsPort != 0);
            ThreadReserve.Fill();
            using var daemon = new DaemonRun(options, reread, signals: new ProcessSignals());
            await daemon.StartAsync(cancellationToken);
            // Before this, a lack of memory is most likely one of threads or address space. LastWords reports
            // that.
            OutOfMemory.Watch();
            var result = await daemon.WaitAsync(cancellationToken);
            daemon.LeaveSlowSockets();
            return result;
        });

    public Task<int> CheckAsync(DaemonOptions options, bool json, bool upstream, string? apache,
        CancellationToken cancellationToken) =>
        Explained(async () =>
    {
        var results = StartChecks.Run(DaemonHost.ServerOptionsOf(options)).ToList();
        results.Add(MetricsPort.Check(options.Monitoring));
        results.AddRange(CheckReport.OfBackends(options.Backends));
        results.AddRange(DeliveryCheck.Of(options.Delivery));
        results.AddRange(await RedisDiagnosis.CheckAsync(options.Answers));
        // The configuration is valid, otherwise check would have ended before this.
        results.Add(new CheckResult("configuration", CheckStatus.Ok,
            $"valid; backend {options.Backend.Name}"
            + $"{(options.BackendChosenBy is { } option ? $" (because {option} is set)" : "")}, socket mode "
            + $"{Convert.ToString(options.Server.SocketMode, 8)}"));
        IReadOnlyList<CheckResult> asked = upstream
            ? await CheckReport.OfUpstreamsAsync(options, cancellationToken) : [];
        IReadOnlyList<CheckResult> site = apache is null ? []
            : await ApacheCheck.RunAsync(apache, TimeSpan.FromMilliseconds(
                options.Timeouts.ConnectTimeoutMs + options.Timeouts.StreamTimeoutMs), cancellationToken);
        CheckReport.Write(Console.Out, results, json, asked, site);
        return results.Concat(asked).Concat(site).Any(r => r.Status == CheckStatus.Failed)
            ? ExitCode.Failure : ExitCode.Success;
    });

    public Task<int> HealthAsync(DaemonOptions options, bool json, CancellationToken cancellationToken) =>
        HealthCommand.RunAsync(options.Monitoring, json, Console.Out, cancellationToken);

    public Task<int> DemoAsync(DaemonOptions options, int port, bool once,
        CancellationToken cancellationToken) =>
        Explained(() =>
        {
            StartNeeds.Demand(DaemonHost.ServerOptionsOf(options), servesHttp: true);
            return DemoCommand.RunAsync(options, port, once, cancellationToken);
        });

    public Task<int> DeliveriesAsync(DaemonOptions options, DeliveriesAct act, string? id, bool json,
        CancellationToken cancellationToken) =>
        Task.FromResult(
            new DeliveriesCommand(options.Delivery, Console.Out, Console.Error).Run(act, id, json));

    public Task<int> SendAsync(string socket, string? prompt, string? data, int timeoutS,
        CancellationToken cancellationToken) =>
        Explained(() => SendCommand.RunAsync(socket, SendCommand.HandoffData(prompt, data), timeoutS,
            Console.Out, cancellationToken));

    /// <summary>Runs the action. If the system refuses something, prints one sentence with how to fix it, and
    /// returns exit code 1.</summary>
    private static async Task<int> Explained(Func<Task<int>> action)
    {
        try
        {
            return await action();
        }
        catch (HandoffServerException e)
        {
            CommandLine.Say(Console.Error, e.Message);
            return ExitCode.Failure;
        }
        catch (Exception e) when (LastWords.Explain(e) is not null)
        {
            CommandLine.Say(Console.Error, LastWords.Explain(e)!);
            return ExitCode.Failure;
        }
    }
}
