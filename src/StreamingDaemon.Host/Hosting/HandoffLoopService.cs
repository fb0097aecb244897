using StreamingDaemon.Backends;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// The io_uring handoff loop as a hosted service: starts it last of all, so that whoever finds the socket's
/// path finds a daemon that has all it needs, drains it when it is told to, and stops the host, which answers
/// <c>/health</c> until then, when it has ended.
/// </summary>
internal sealed class HandoffLoopService(
    HandoffServer server, ReloadableOptions options, StreamWatchdog watchdog, DrainSignal drain,
    ServiceNotifier notifier, LoopWatchdog alive, IHostApplicationLifetime lifetime,
    ILogger<HandoffLoopService> logger) : BackgroundService, IHostedLifecycleService
{
    // What follows the time that streams have to end: a second in all, whatever clients and peers do.

    /// <summary>How long error events may take to reach the clients that a stop has cut.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a loop may take to drop the clients that are left.</summary>
    private static readonly TimeSpan LastTurns = TimeSpan.FromMilliseconds(200);

    /// <summary>How long the last lines of the access log may take after the last client.</summary>
    private static readonly TimeSpan LastLines = TimeSpan.FromMilliseconds(200);

    /// <summary>How much longer than the streams' time the service manager is asked to wait.</summary>
    private static readonly TimeSpan ManagerPatience = TimeSpan.FromSeconds(10);

    private readonly ILogger _logger = logger;

    /// <summary>False if the host stops without having started.</summary>
    private readonly TaskCompletionSource<bool> _listening =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The exit code of the process, once the host has stopped.</summary>
    public int Result { get; private set; }

    /// <summary>After every hosted service has started, Kestrel too.</summary>
    /// <exception cref="HandoffServerException">The ring or the socket is refused.</exception>
    public async Task StartedAsync(CancellationToken cancellationToken)
    {
        await server.StartAsync().ConfigureAwait(false);
        var now = options.Current;
        var asked = now.Server.MaxConnections;
        if (server.Budget is { } budget && budget.MaxConnections < asked)
            _logger.DescriptorLimit(budget.Explain(asked));
        _logger.MemoryLimit(server.Memory.Limit >> 20, server.Memory.BytesPerStream >> 10);
        _logger.Listening(server.SocketPath,
            now.Server.SocketType == SocketKind.Stream ? "stream" : "seqpacket",
            now.Backend.Name, server.Statistics.MaxConnections);
        notifier.Ready($"listening on {server.SocketPath}, backend {now.Backend.Name}");
        _ = alive.RunAsync();
        _listening.TrySetResult(true);
    }

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Whoever else stops the host drains the streams too.
        await using var registration = stoppingToken.Register(() =>
        {
            _listening.TrySetResult(false);
            drain.Begin();
        });
        if (!await _listening.Task.ConfigureAwait(false))
            return;
        Result = await RunAsync().ConfigureAwait(false);
        lifetime.StopApplication();
    }

    /// <summary>Runs to the end of the drain, or of a loop that fails.</summary>
    private async Task<int> RunAsync()
    {
        try
        {
            await Task.WhenAny(server.Completion, drain.Begun).ConfigureAwait(false);
            // A loop that ended and was not asked to throws here: a daemon that looks healthy and streams
            // nothing would be the worst end.
            if (server.Completion.IsCompleted)
                await server.Completion.ConfigureAwait(false);
            await DrainAsync().ConfigureAwait(false);
            if (server.PathLeft is { } reason)
                _logger.SocketPathLeft(server.SocketPath, reason);
            // What became of the last streams is still being written down.
            await server.HandlersEndedAsync(LastLines).ConfigureAwait(false);
            return ExitCode.Success;
        }
        catch (OutOfMemoryException)
        {
            // The loop could not go on, and there is no memory for a stop in order.
            OutOfMemory.End();
            return ExitCode.Failure;
        }
        catch (Exception e)
        {
            _logger.LoopFailed(e);
            server.Stop();
            return ExitCode.Failure;
        }
    }

    private async Task DrainAsync()
    {
        var active = server.Statistics.ActiveConnections;
        var patience = TimeSpan.FromSeconds(options.Current.Timeouts.ShutdownTimeoutS);
        _logger.Draining(active, options.Current.Timeouts.ShutdownTimeoutS);
        notifier.Stopping($"draining {active} connections", patience + ManagerPatience);
        server.BeginDrain();
        if (await EndsWithinAsync(patience).ConfigureAwait(false))
        {
            _logger.Drained();
            return;
        }

        _logger.DrainTimedOut(server.Statistics.ActiveConnections);
        watchdog.CancelAll(StreamOutcome.Drained);
        if (await EndsWithinAsync(LastWords).ConfigureAwait(false))
            return;
        server.Stop();
        if (!await EndsWithinAsync(LastTurns).ConfigureAwait(false))
            throw new HandoffServerException("the loop does not turn; its clients are cut as it is");
    }

    private async Task<bool> EndsWithinAsync(TimeSpan patience)
    {
        try
        {
            await server.Completion.WaitAsync(patience).ConfigureAwait(false);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }
}
