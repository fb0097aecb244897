using System.Diagnostics;
using System.Globalization;
using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// Writes one line for each stream: who asked, for what, and how it ended. Never a prompt, an answer or a
/// key. On a terminal, Serilog formats the lines. Otherwise <see cref="AccessLine"/> writes the same bytes
/// at a lower cost.
/// </summary>
/// <param name="options">Says whether this is a benchmark.</param>
/// <param name="samples">Limits lines that handoffs can cause at will.</param>
/// <param name="logger">Gets the lines if there is no writer.</param>
/// <param name="log">Its writer gets the lines.</param>
internal sealed class AccessLog(
    DaemonOptions options, LogSampler samples, ILogger<AccessLog> logger, DaemonLog? log = null)
{
    [ThreadStatic]
    private static AccessLine? s_line;

    private readonly ILogger _logger = logger;

    public void Write(in StreamReport stream)
    {
        // A benchmark measures the streams without the cost of these lines; its summary replaces them.
        if (options.Performance.Benchmark)
            return;
        var level = LevelOf(stream.Outcome);
        if (!_logger.IsEnabled(level))
            return;
        var (request, client) = (stream.Request, stream.Client);
        var line = s_line ??= new AccessLine();
        var fields = new AccessFields(stream.Outcome, request.LoggedRequestId(line.IdRoom),
            Printable(request.UserId), stream.Backend.Name,
            Printable(request.Model ?? stream.Backend.DefaultModel), client.BytesSent, stream.Events,
            Milliseconds(stream.TimeToFirstToken),
            Milliseconds(Stopwatch.GetElapsedTime(client.AcceptedTimestamp)),
            stream.Status, client.IsTls, stream.Error?.Word(), stream.Result.FinishReason,
            stream.Use.Word(), stream.Result.Reason, request.Traceparent);
        if (log?.Writer is { } writer)
            WriteTo(writer, line, log.IsJson, fields, level);
        else
            LogTo(_logger, fields, level);
    }

    private static void WriteTo(LogWriter writer, AccessLine line, bool isJson, in AccessFields fields,
        LogLevel level)
    {
        if (isJson)
            line.FormatJson(fields, DateTime.UtcNow, level);
        else
            line.FormatText(fields, DateTime.UtcNow, level);
        writer.Append(line.Bytes, isUrgent: false);
    }

    internal static void LogTo(ILogger logger, in AccessFields fields, LogLevel level) =>
        logger.StreamEnded(level, fields.Outcome, fields.RequestId.ToString(), Logged(fields.UserId),
            fields.Backend, fields.Model, fields.Bytes, fields.Events, fields.TtftMs, fields.DurationMs,
            fields.Status, fields.Tls, fields.Code, fields.FinishReason, fields.Answer, fields.Reason,
            fields.Traceparent);

    private static UserId Printable(UserId user) =>
        user.Text is { } text ? new UserId(Printable(text)) : user;

    /// <summary>A number, a text, or null.</summary>
    private static object? Logged(UserId user) => user.Number is { } number ? number : user.Text;

    // Three decimals: microseconds.
    private static double? Milliseconds(TimeSpan? time) =>
        time is { } value ? Math.Round(value.TotalMilliseconds, 3) : null;

    /// <summary>Makes text from the application safe to log: it could forge a log line, or change what a
    /// terminal shows.</summary>
    /// <returns>At most 128 UTF-16 units, with control and format characters as '_'.</returns>
    internal static string Printable(string text)
    {
        var cut = text.Length > 128 ? text[..128] : text;
        if (!cut.AsSpan().ContainsAnyExceptInRange(' ', '~'))
            return cut;
        return string.Concat(cut.EnumerateRunes().Select(rune => Rune.GetUnicodeCategory(rune)
            is UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.LineSeparator
            or UnicodeCategory.ParagraphSeparator ? "_" : rune.ToString()));
    }

    /// <summary>Warning for ends that an operator must look into; ends caused by clients are normal. If a
    /// handoff can cause an end at will, only the first of many is a warning.</summary>
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
