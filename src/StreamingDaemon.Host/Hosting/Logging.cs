using Serilog;
using Serilog.Events;
using Serilog.Formatting.Compact;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Hosting;

/// <summary>Logs go to standard error: text for people, one JSON object a line for everything else.</summary>
internal static class Logging
{
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
        // All levels to standard error, so that standard output is a command's own.
        return (json
            ? configuration.WriteTo.Console(new CompactJsonFormatter(),
                standardErrorFromLevel: LogEventLevel.Verbose)
            : configuration.WriteTo.Console(
                outputTemplate: TextTemplate,
                formatProvider: System.Globalization.CultureInfo.InvariantCulture,
                standardErrorFromLevel: LogEventLevel.Verbose)).CreateLogger();
    }
}
