using System.Globalization;
using Serilog;
using Serilog.Configuration;
using Serilog.Events;
using Serilog.Formatting.Compact;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Hosting;

/// <summary>Logs go to standard error: text for people, one JSON object a line for everything else.</summary>
internal static class Logging
{
    private const int QueuedLines = 100_000;

    private const string TextTemplate =
        "{Timestamp:HH:mm:ss.fff} {Level:u3} {Message:lj}{NewLine}{Exception}";

    public static Serilog.Core.Logger Create(LoggingOptions options)
    {
        var json = options.Format == "json" || (options.Format == "auto" && Console.IsErrorRedirected);
        var configuration = new LoggerConfiguration()
            .MinimumLevel.Is(Enum.Parse<LogEventLevel>(options.Level, ignoreCase: true))
            // Kestrel and the host tell of themselves at information.
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            // What a start fails of is said once, by the command that started it.
            .MinimumLevel.Override("Microsoft.Extensions.Hosting.Internal.Host", LogEventLevel.Fatal)
            .MinimumLevel.Override("System", LogEventLevel.Warning);
        // On a thread of its own, and lines are dropped before a stream waits for whoever reads them.
        return configuration.WriteTo.Async(sink => WriteTo(sink, json), QueuedLines, blockWhenFull: false)
            .CreateLogger();
    }

    /// <summary>All levels to standard error: standard output is a command's own.</summary>
    private static void WriteTo(LoggerSinkConfiguration sink, bool json)
    {
        const LogEventLevel All = LogEventLevel.Verbose;
        if (json)
            sink.Console(new CompactJsonFormatter(), standardErrorFromLevel: All);
        else
            sink.Console(outputTemplate: TextTemplate, formatProvider: CultureInfo.InvariantCulture,
                standardErrorFromLevel: All);
    }
}
