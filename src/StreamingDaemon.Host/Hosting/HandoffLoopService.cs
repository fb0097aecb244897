using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// The io_uring handoff loop as a hosted service: starts it, drains it, and ends the process when it has
/// ended.
/// </summary>
internal sealed partial class HandoffLoopService(
    HandoffServer server, DaemonOptions options, StreamWatchdog watchdog, DrainSignal drain,
    IHostApplicationLifetime lifetime, ILogger<HandoffLoopService> logger) : BackgroundService
{
    /// <summary>How long error events may take to reach the clients that a stop has cut.</summary>
    private static readonly TimeSpan LastWords = TimeSpan.FromSeconds(5);

    private readonly ILogger _logger = logger;

    /// <summary>1 where the loop failed.</summary>
    public int ExitCode { get; private set; }

    public override async Task StartAsync(CancellationToken cancellationToken)
    {
        await server.StartAsync().ConfigureAwait(false);
        var asked = options.Server.MaxConnections;
        if (server.Budget is { } budget && budget.MaxConnections < asked)
            LogDescriptors(_logger, budget.Explain(asked));
        lifetime.ApplicationStarted.Register(() => LogListening(_logger, options.Server.Socket,
            options.Server.SocketType == SocketKind.Stream ? "stream" : "seqpacket",
            options.Backend.Name, server.Statistics.MaxConnections));
        await base.StartAsync(cancellationToken).ConfigureAwait(false);
    }

    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        // Whoever else stops the host drains the streams too.
        await using var registration = stoppingToken.Register(() => drain.Begin());
        try
        {
            await Task.WhenAny(server.Completion, drain.Begun).ConfigureAwait(false);
            // A loop that ended and was not asked to throws here: a daemon that looks healthy and streams
            // nothing would be the worst end.
            if (server.Completion.IsCompleted)
                await server.Completion.ConfigureAwait(false);
            await DrainAsync().ConfigureAwait(false);
        }
        catch (Exception e)
        {
            LogLoopFailed(_logger, e);
            ExitCode = 1;
            server.Stop();
        }
        finally
        {
            lifetime.StopApplication();
        }
    }

    private async Task DrainAsync()
    {
        LogDraining(_logger, server.Statistics.ActiveConnections, options.Timeouts.ShutdownTimeoutS);
        server.BeginDrain();
        var patience = TimeSpan.FromSeconds(options.Timeouts.ShutdownTimeoutS);
        if (await EndsWithinAsync(patience).ConfigureAwait(false))
        {
            LogDrained(_logger);
            return;
        }

        LogCutting(_logger, server.Statistics.ActiveConnections);
        watchdog.CancelAll(StreamOutcome.Drained);
        if (!await EndsWithinAsync(LastWords).ConfigureAwait(false))
        {
            server.Stop();
            await server.Completion.ConfigureAwait(false);
        }
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

    [LoggerMessage(EventId = 20, Level = LogLevel.Information, Message =
        "listening on {Socket} ({Kind}), backend {Backend}, at most {MaxConnections} connections")]
    private static partial void LogListening(ILogger logger, string socket, string kind, string backend,
        int maxConnections);

    [LoggerMessage(EventId = 25, Level = LogLevel.Warning, Message = "nofile: {Detail}")]
    private static partial void LogDescriptors(ILogger logger, string detail);

    [LoggerMessage(EventId = 21, Level = LogLevel.Information, Message =
        "no new handoffs; {Active} connections have {Seconds} s to end")]
    private static partial void LogDraining(ILogger logger, int active, int seconds);

    [LoggerMessage(EventId = 22, Level = LogLevel.Information, Message = "every stream has ended")]
    private static partial void LogDrained(ILogger logger);

    [LoggerMessage(EventId = 23, Level = LogLevel.Warning, Message =
        "time is up: ending {Active} connections with an error event")]
    private static partial void LogCutting(ILogger logger, int active);

    [LoggerMessage(EventId = 24, Level = LogLevel.Critical, Message = "the handoff loop failed")]
    private static partial void LogLoopFailed(ILogger logger, Exception exception);
}
