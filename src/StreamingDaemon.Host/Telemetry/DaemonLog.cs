using System.Globalization;
using Serilog;
using Serilog.Configuration;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting;
using Serilog.Formatting.Compact;
using Serilog.Formatting.Display;
using Serilog.Sinks.Async;
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

    private static readonly TimeSpan s_crashTimeout = TimeSpan.FromMilliseconds(200);

    private const string Prefix = "{UtcTimestamp:yyyy-MM-ddTHH:mm:ss.fffZ} {Level:u3} ";

    /// <summary>"lj" of the console is "l" of the formatter: strings without quotes.</summary>
    private const string TerminalTemplate = Prefix + "{Message:lj}{NewLine}{Exception}";
    private const string TextTemplate = Prefix + "{Message:l}{NewLine}{Exception}";

    private readonly LoggingLevelSwitch _level;
    private readonly Logger _logger;
    private readonly Action _onCrash;
    private readonly TerminalQueue _terminal = new();

    /// <param name="options">Level and format.</param>
    /// <exception cref="Uring.HandoffServerException">The system refuses a thread.</exception>
    public DaemonLog(LoggingOptions options)
        : this(options, Console.IsErrorRedirected ? Console.OpenStandardError() : null)
    {
    }

    /// <param name="options">Level and format.</param>
    /// <param name="output">Gets the lines; null for the console of a terminal.</param>
    internal DaemonLog(LoggingOptions options, Stream? output)
    {
        IsJson = options.Format == "json" || (options.Format == "auto" && output is not null);
        Writer = output is null ? null : new LogWriter(output);
        _level = new LoggingLevelSwitch(LevelOf(options));
        var configuration = new LoggerConfiguration()
            .MinimumLevel.ControlledBy(_level)
            // At information, Kestrel and the host log about themselves.
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // Kestrel's warnings are about bad input, and strangers can send as much of it as they like.
            .MinimumLevel.Override("Microsoft.AspNetCore.Server.Kestrel", LogEventLevel.Error)
            // The command that starts the daemon already reports why a start failed.
            .MinimumLevel.Override("Microsoft.Extensions.Hosting.Internal.Host", LogEventLevel.Fatal)
            .MinimumLevel.Override("System", LogEventLevel.Warning);
        _onCrash = () => Flush(s_crashTimeout);
        LastWords.Crashing += _onCrash;
        _logger = (Writer is null
            ? configuration.WriteTo.Async(ToTerminal, QueuedLines, blockWhenFull: false, _terminal)
            : configuration.WriteTo.Sink(new LogWriterSink(Writer, FormatterOf(IsJson)))).CreateLogger();
    }

    public Serilog.ILogger Logger => _logger;

    /// <summary>True if the lines are JSON, false if they are text.</summary>
    public bool IsJson { get; }

    /// <summary>Writes the lines; null if they go to a terminal.</summary>
    public LogWriter? Writer { get; }

    /// <summary>Lines lost since the start.</summary>
    public long LostLines => Writer?.LostLines ?? _terminal.Lost;

    /// <summary>Sets another level, from the next line on. Thread-safe.</summary>
    public void SetLevel(LoggingOptions options) => _level.MinimumLevel = LevelOf(options);

    /// <summary>Writes the queued lines, for at most 2 s.</summary>
    public void Dispose()
    {
        LastWords.Crashing -= _onCrash;
        Flush(TimeSpan.FromSeconds(2));
    }

    /// <summary>Writes the queued lines and closes the log. Has a timeout, because a pipe that nobody reads
    /// would block the process for ever.</summary>
    public void Flush(TimeSpan timeout)
    {
        if (Writer is { } writer)
            writer.End(timeout);
        else
            RunWithTimeout.Invoke(_logger.Dispose, timeout);
    }

    private static LogEventLevel LevelOf(LoggingOptions options) =>
        Enum.Parse<LogEventLevel>(options.Level, ignoreCase: true);

    internal static ITextFormatter FormatterOf(bool isJson) => isJson
        ? new RenderedCompactJsonFormatter()
        : new MessageTemplateTextFormatter(TextTemplate, CultureInfo.InvariantCulture);

    /// <summary>All levels go to standard error: standard output is for the commands' results.</summary>
    private void ToTerminal(LoggerSinkConfiguration sink)
    {
        const LogEventLevel All = LogEventLevel.Verbose;
        if (IsJson)
        {
            sink.Console(FormatterOf(isJson: true), standardErrorFromLevel: All);
        }
        else
        {
            sink.Console(outputTemplate: TerminalTemplate, formatProvider: CultureInfo.InvariantCulture,
                standardErrorFromLevel: All);
        }
    }

    /// <summary>Sees how many lines the queue of a terminal has dropped.</summary>
    private sealed class TerminalQueue : IAsyncLogEventSinkMonitor
    {
        private IAsyncLogEventSinkInspector? _queue;

        public long Lost => _queue?.DroppedMessagesCount ?? 0;

        public void StartMonitoring(IAsyncLogEventSinkInspector inspector) => _queue = inspector;

        public void StopMonitoring(IAsyncLogEventSinkInspector inspector)
        {
        }
    }
}
