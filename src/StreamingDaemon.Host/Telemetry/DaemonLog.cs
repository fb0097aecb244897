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
/// The log: to standard error, text for people and one JSON object a line for everything else. Lines are
/// written by a thread of its own, and dropped before anybody waits for whoever reads them.
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
            // Kestrel and the host tell of themselves at information.
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // Its warnings are of what strangers send, and they send as much as they like.
            .MinimumLevel.Override("Microsoft.AspNetCore.Server.Kestrel", LogEventLevel.Error)
            // What a start fails of is said once, by the command that started it.
            .MinimumLevel.Override("Microsoft.Extensions.Hosting.Internal.Host", LogEventLevel.Fatal)
            .MinimumLevel.Override("System", LogEventLevel.Warning)
            .WriteTo.Async(sink => WriteTo(sink, json), QueuedLines, blockWhenFull: false)
            .CreateLogger();
    }

    public Serilog.ILogger Logger => _logger;

    /// <summary>Takes another level from the next line on. From any thread.</summary>
    public void SetLevel(LoggingOptions options) => _level.MinimumLevel = LevelOf(options);

    /// <summary>Writes what is queued, as far as it goes in 2 s.</summary>
    public void Dispose() => Flush(TimeSpan.FromSeconds(2));

    /// <summary>Writes what is queued, as far as it goes in the time, and takes no more: a pipe that nobody
    /// reads would hold the process for ever.</summary>
    public void Flush(TimeSpan patience) => RunWithTimeout.Invoke(_logger.Dispose, patience);

    private static LogEventLevel LevelOf(LoggingOptions options) =>
        Enum.Parse<LogEventLevel>(options.Level, ignoreCase: true);

    /// <summary>All levels to standard error: standard output is a command's own.</summary>
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
