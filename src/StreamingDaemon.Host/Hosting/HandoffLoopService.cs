using System.Diagnostics;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Answers;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Runs the io_uring handoff loop as a hosted service. The loop starts last, so that the daemon is ready when
/// the socket's path appears. On a stop, the loop drains first. The host stops only when the loop has ended,
/// so that <c>/health</c> answers until then.
/// </summary>
internal sealed class HandoffLoopService(
    HandoffServer server, ReloadableOptions options, StreamWatchdog watchdog, AnswersLifetime answers,
    DrainSignal drain,
    ServiceNotifier notifier, LoopWatchdog alive, IHostApplicationLifetime lifetime,
    ILogger<HandoffLoopService> logger) : BackgroundService, IHostedLifecycleService
{
    // After shutdown_timeout_s, a stop takes at most about a second, whatever clients and peers do.

    /// <summary>How long the remaining clients have to receive their error event.</summary>
    private static readonly TimeSpan s_errorEventTime = TimeSpan.FromMilliseconds(500);

    /// <summary>How long a loop may take to drop the clients that are left after that.</summary>
    private static readonly TimeSpan s_loopStopTime = TimeSpan.FromMilliseconds(200);

    /// <summary>How long the last access log lines may take after the last client has ended.</summary>
    private static readonly TimeSpan s_accessLogTime = TimeSpan.FromMilliseconds(200);

    /// <summary>Extra time that the service manager is asked to wait, beyond shutdown_timeout_s.</summary>
    private static readonly TimeSpan s_managerPatience = TimeSpan.FromSeconds(10);

    private readonly ILogger _logger = logger;

    /// <summary>True once the loop listens; false if the host stops before that.</summary>
    private readonly TaskCompletionSource<bool> _listening =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>The exit code of the process. Valid once the host has stopped.</summary>
    public int Result { get; private set; }

    /// <summary>Starts the loop. The host calls it after every hosted service, also Kestrel, has started.
    /// </summary>
    /// <exception cref="HandoffServerException">The ring or the socket is refused.</exception>
    public async Task StartedAsync(CancellationToken cancellationToken)
    {
        await answers.StartAsync().ConfigureAwait(false);
        await server.StartAsync().ConfigureAwait(false);
        var now = options.Current;
        var asked = now.Server.MaxConnections;
        if (server.Budget is { } budget && budget.MaxConnections < asked)
            _logger.DescriptorLimit(budget.Explain(asked));
        _logger.MemoryLimit(server.Memory.Limit >> 20, server.Memory.BytesPerStream >> 10);
        if (now.BackendChosenBy is { } option)
            _logger.BackendChosen(now.Backend.Name, option);
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
        // Drain the streams also if something other than a signal stops the host.
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

    /// <summary>Runs until the drain has ended or the loop has failed.</summary>
    /// <returns>The exit code.</returns>
    private async Task<int> RunAsync()
    {
        try
        {
            await Task.WhenAny(server.Completion, drain.Begun, server.ListenerLost).ConfigureAwait(false);
            // If the loop ended by itself, this throws and ends the process. Otherwise the daemon would look
            // healthy and stream nothing.
            if (server.Completion.IsCompleted)
                await server.Completion.ConfigureAwait(false);
            // Nothing can be handed over any more: say so, and let what runs end.
            var isLost = !drain.IsDraining && drain.Begin();
            if (isLost)
                _logger.ListenerShutDown(server.SocketPath);
            await DrainAsync().ConfigureAwait(false);
            if (server.PathLeft is { } reason)
                _logger.SocketPathLeft(server.SocketPath, reason);
            // The access log lines of the last streams may still be on their way.
            await server.HandlersEndedAsync(s_accessLogTime).ConfigureAwait(false);
            return isLost ? ExitCode.Failure : ExitCode.Success;
        }
        catch (OutOfMemoryException)
        {
            // The loop failed, and there is no memory for an orderly stop.
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
        notifier.Stopping($"draining {active} connections", patience + s_managerPatience);
        server.BeginDrain();
        if (await EndsWithinAsync(patience).ConfigureAwait(false))
        {
            _logger.Drained();
            return;
        }

        _logger.DrainTimedOut(server.Statistics.ActiveConnections);
        watchdog.CancelAll(StreamOutcome.Drained);
        answers.EndFollowers();
        if (await EndsWithinAsync(s_errorEventTime).ConfigureAwait(false))
            return;
        server.Stop();
        if (!await EndsWithinAsync(server.Completion, s_loopStopTime).ConfigureAwait(false))
            throw new HandoffServerException("the loop does not turn; its clients are cut off");
    }

    /// <summary>Waits for the clients, and for kept answers without a reader.</summary>
    private async Task<bool> EndsWithinAsync(TimeSpan patience)
    {
        var started = Stopwatch.GetTimestamp();
        if (!await EndsWithinAsync(server.Completion, patience).ConfigureAwait(false))
            return false;
        var left = patience - Stopwatch.GetElapsedTime(started);
        return await EndsWithinAsync(answers.IdleAsync(), left > TimeSpan.Zero ? left : TimeSpan.Zero)
            .ConfigureAwait(false);
    }

    private static async Task<bool> EndsWithinAsync(Task end, TimeSpan patience)
    {
        try
        {
            await end.WaitAsync(patience).ConfigureAwait(false);
            return true;
        }
        catch (TimeoutException)
        {
            return false;
        }
    }
}
