using System.Diagnostics;
using System.Globalization;
using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// One line a stream: who, what, how it ended. Never a prompt, an answer or a key. If they go to a terminal,
/// Serilog formats the lines; else <see cref="AccessLine"/> does, the same bytes for less.
/// </summary>
/// <param name="options">Says whether this is a benchmark.</param>
/// <param name="samples">Limits what handoffs can cause at will.</param>
/// <param name="logger">Takes the lines if there is no writer.</param>
/// <param name="log">Whose writer takes the lines.</param>
internal sealed class AccessLog(
    DaemonOptions options, LogSampler samples, ILogger<AccessLog> logger, DaemonLog? log = null)
{
    [ThreadStatic]
    private static AccessLine? t_line;

    private readonly ILogger _logger = logger;

    public void Write(in StreamReport stream)
    {
        // A benchmark measures the streams; its summary stands for the lines.
        if (options.Performance.Benchmark)
            return;
        var level = LevelOf(stream.Outcome);
        if (!_logger.IsEnabled(level))
            return;
        var (request, client) = (stream.Request, stream.Client);
        var fields = new AccessFields(stream.Outcome, request.RequestId, request.UserId, stream.Backend.Name,
            Printable(request.Model ?? stream.Backend.DefaultModel), client.BytesSent, stream.Events,
            Milliseconds(stream.TimeToFirstToken),
            Milliseconds(Stopwatch.GetElapsedTime(client.AcceptedTimestamp)),
            stream.Status, stream.Result.Reason);
        if (log?.Writer is { } writer)
            WriteTo(writer, log.IsJson, fields, level);
        else
            LogTo(_logger, fields, level);
    }

    private static void WriteTo(LogWriter writer, bool isJson, in AccessFields fields, LogLevel level)
    {
        var line = t_line ??= new AccessLine();
        if (isJson)
            line.FormatJson(fields, DateTime.UtcNow, level);
        else
            line.FormatText(fields, DateTime.UtcNow, level);
        writer.Append(line.Bytes, isUrgent: false);
    }

    internal static void LogTo(ILogger logger, in AccessFields fields, LogLevel level) =>
        logger.StreamEnded(level, fields.Outcome, fields.RequestId, fields.UserId, fields.Backend,
            fields.Model, fields.Bytes, fields.Events, fields.TtftMs, fields.DurationMs, fields.Status,
            fields.Reason);

    // Three decimals, and no more digits than the clock has.
    private static double? Milliseconds(TimeSpan? time) =>
        time is { } value ? Math.Round(value.TotalMilliseconds, 3) : null;

    /// <summary>The application chose it, so that a log line could be forged with it, or what a terminal
    /// shows of one.</summary>
    internal static string Printable(string text)
    {
        var cut = text.Length > 128 ? text[..128] : text;
        if (!cut.AsSpan().ContainsAnyExceptInRange(' ', '~'))
            return cut;
        return string.Concat(cut.EnumerateRunes().Select(rune => Rune.GetUnicodeCategory(rune)
            is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator
            or UnicodeCategory.ParagraphSeparator ? "_" : rune.ToString()));
    }

    /// <summary>A warning is an end that somebody has to look into: what clients do is every day's business.
    /// What handoffs can cause at will is one for the first of many only.</summary>
    private LogLevel LevelOf(StreamOutcome outcome) => outcome switch
    {
        StreamOutcome.UpstreamError or StreamOutcome.UpstreamTimeout or StreamOutcome.UpstreamTruncated
            or StreamOutcome.InternalError => LogLevel.Warning,
        StreamOutcome.BadHandoff or StreamOutcome.OverCapacity or StreamOutcome.OverMemory
            when samples.Admits($"stream {outcome}") =>
            LogLevel.Warning,
        _ => LogLevel.Information,
    };
}
