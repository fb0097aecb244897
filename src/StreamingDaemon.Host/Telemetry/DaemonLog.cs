using System.Globalization;
using Serilog;
using Serilog.Configuration;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting.Compact;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// The log on standard error: text on a terminal, else one JSON object per line. A separate thread writes
/// the lines. If their reader is too slow, lines are dropped, so that no stream waits for it.
/// </summary>
internal sealed class DaemonLog : IDisposable
{
    private const int QueuedLines = 100_000;

    private const string TextTemplate =
        "{UtcTimestamp:yyyy-MM-ddTHH:mm:ss.fffZ} {Level:u3} {Message:lj}{NewLine}{Exception}";

    private readonly LoggingLevelSwitch _level;
    private readonly Logger _logger;

    public DaemonLog(LoggingOptions options)
    {
        var json = options.Format == "json" || (options.Format == "auto" && Console.IsErrorRedirected);
        _level = new LoggingLevelSwitch(LevelOf(options));
        _logger = new LoggerConfiguration()
            .MinimumLevel.ControlledBy(_level)
            // At information, Kestrel and the host log about themselves.
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // Kestrel's warnings are about bad input, and strangers can send as much of it as they like.
            .MinimumLevel.Override("Microsoft.AspNetCore.Server.Kestrel", LogEventLevel.Error)
            // The command that starts the daemon already reports why a start failed.
            .MinimumLevel.Override("Microsoft.Extensions.Hosting.Internal.Host", LogEventLevel.Fatal)
            .MinimumLevel.Override("System", LogEventLevel.Warning)
            .WriteTo.Async(sink => WriteTo(sink, json), QueuedLines, blockWhenFull: false)
            .CreateLogger();
    }

    public Serilog.ILogger Logger => _logger;

    /// <summary>Sets another level, from the next line on. Thread-safe.</summary>
    public void SetLevel(LoggingOptions options) => _level.MinimumLevel = LevelOf(options);

    /// <summary>Writes the queued lines, for at most 2 s.</summary>
    public void Dispose() => Flush(TimeSpan.FromSeconds(2));

    /// <summary>Writes the queued lines and closes the log. Has a timeout, because a pipe that nobody reads
    /// would block the process for ever.</summary>
    public void Flush(TimeSpan patience) => RunWithTimeout.Invoke(_logger.Dispose, patience);

    private static LogEventLevel LevelOf(LoggingOptions options) =>
        Enum.Parse<LogEventLevel>(options.Level, ignoreCase: true);

    /// <summary>All levels go to standard error: standard output is for the commands' results.</summary>
    private static void WriteTo(LoggerSinkConfiguration sink, bool json)
    {
        const LogEventLevel All = LogEventLevel.Verbose;
        if (json)
            sink.Console(new RenderedCompactJsonFormatter(), standardErrorFromLevel: All);
        else
            sink.Console(outputTemplate: TextTemplate, formatProvider: CultureInfo.InvariantCulture,
                standardErrorFromLevel: All);
    }
}
