using System.Text;
using System.Text.RegularExpressions;
using CsCheck;
using Microsoft.Extensions.Logging;
using Serilog;
using Serilog.Core;
using Serilog.Events;
using Serilog.Extensions.Logging;
using Serilog.Formatting;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Telemetry;
using Xunit;

namespace StreamingDaemon.Host.Tests.Telemetry;

public sealed partial class AccessLineTests
{
    private static readonly DateTime s_now = new(2026, 1, 2, 3, 4, 5, 678, DateTimeKind.Utc);

    private static readonly Gen<string> s_text = Gen.OneOf(
        Gen.String, Gen.String[Gen.Char["\"\\\n\r\t\f\0\x01\x1f azé\u2028{}'"], 0, 12], Gen.Const(""),
        Gen.Const("sd-1-2"), Gen.Const("a 😀 \ud800 b"));

    private static readonly Gen<string?> s_maybe =
        Gen.OneOf(s_text.Select(t => (string?)t), Gen.Const((string?)null));

    private static readonly Gen<double?> s_time = Gen.OneOf(
        Gen.Const((double?)null), Gen.Int[0, 10_000_000].Select(i => (double?)Math.Round(i / 1000.0, 3)));

    private static readonly Gen<UserId> s_user = Gen.OneOf(
        Gen.Long.Select(n => new UserId(n)), Gen.Const(new UserId(0)), Gen.Const(default(UserId)),
        s_text.Where(text => text.Length > 0).Select(text => new UserId(text)));

    private static readonly Gen<AccessFields> s_fields = Gen.Select(
        Gen.Select(Gen.Int[0, Enum.GetValues<StreamOutcome>().Length - 1], s_text, s_user, s_text, s_text),
        Gen.Select(Gen.Long[0, long.MaxValue], Gen.Int[0, int.MaxValue], s_time, s_time, Gen.Int[0, 599]),
        s_maybe, Gen.Select(s_maybe, s_maybe, s_maybe, Gen.Bool, s_maybe), (a, b, code, c) => new AccessFields(
            (StreamOutcome)a.Item1, a.Item2.AsMemory(), a.Item3, a.Item4, a.Item5, b.Item1, b.Item2, b.Item3, b.Item4,
            b.Item5, c.Item4, code, c.Item1, c.Item2, c.Item5, c.Item3));

    [Theory]
    [InlineData("json")]
    [InlineData("text")]
    public void Line_is_byte_for_byte_the_one_that_Serilog_writes(string format)
    {
        Gen.Select(s_fields, Gen.Bool.Select(b => b ? LogLevel.Warning : LogLevel.Information)).Sample((fields, level) =>
        {
            var line = new AccessLine();
            if (format == "json")
                line.FormatJson(fields, s_now, level);
            else
                line.FormatText(fields, s_now, level);
            var ours = Encoding.UTF8.GetString(line.Bytes);

            Assert.Equal(Time().Replace(BySerilog(format, fields, level), "TIME", 1), Time().Replace(ours, "TIME", 1));
            if (format == "json")
                Assert.Equal(ours.Length - 1, ours.IndexOf('\n', StringComparison.Ordinal));
        }, iter: 2_000);
    }

    [Fact]
    public void Line_allocates_nothing_once_its_buffer_is_large_enough()
    {
        var line = new AccessLine();
        var fields = new AccessFields(StreamOutcome.UpstreamError, new string('r', 128).AsMemory(), 42, "openai", "gpt-5 \"x\"",
            123_456, 789, 12.345, 6789.1, 502, true, "upstream_failed", "stop", "resumed", "HTTP 500",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        line.FormatJson(fields, s_now, LogLevel.Warning);
        line.FormatText(fields, s_now, LogLevel.Warning);

        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1_000; i++)
        {
            line.FormatJson(fields, DateTime.UtcNow, LogLevel.Warning);
            line.FormatText(fields, DateTime.UtcNow, LogLevel.Warning);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static string BySerilog(string format, AccessFields fields, LogLevel level)
    {
        using var output = new StringWriter();
        using var serilog = new LoggerConfiguration()
            .WriteTo.Sink(new Sink(DaemonLog.FormatterOf(format == "json"), output)).CreateLogger();
        using var factory = new SerilogLoggerFactory(serilog);
        AccessLog.LogTo(factory.CreateLogger<AccessLog>(), fields, level);
        // A half of a surrogate pair has no bytes of its own.
        return Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(output.ToString()));
    }

    private sealed class Sink(ITextFormatter formatter, TextWriter output) : ILogEventSink
    {
        public void Emit(LogEvent logEvent) => formatter.Format(logEvent, output);
    }

    [GeneratedRegex(@"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z")]
    private static partial Regex Time();
}
