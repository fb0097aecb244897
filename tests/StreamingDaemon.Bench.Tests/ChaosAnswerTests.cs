using System.Text;
using StreamingDaemon.Testing.Chaos;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

/// <summary>The judge of the chaos run finds what it is there for.</summary>
public sealed class ChaosAnswerTests
{
    private const string Head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n";
    private const string A = "data: {\"content\":\"a\"}\n\n";
    private const string B = "data: {\"content\":\"b\"}\n\n";
    private const string Done = "data: [DONE]\n\n";
    private const string Error = "data: {\"error\":\"it failed\"}\n\n";

    [Theory]
    [InlineData(Head + A + B + Done)]
    [InlineData(Head + A + ": keep-alive\n\n" + B + Done)]
    [InlineData(Head + A + Error)]
    [InlineData(Head + Error)]
    [InlineData(Head + A + ": the upstream ended early\n\n")]
    [InlineData("HTTP/1.1 502 Bad Gateway\r\n\r\n{\"error\":{\"message\":\"no\"}}\n")]
    public void Whole_answers_and_whole_errors_are_no_complaint(string answer) =>
        Assert.Null(Judge(answer));

    [Theory]
    [InlineData("", ChaosAnswer.Nothing)]
    [InlineData("HTTP/1.1 502 Bad Gateway\r\n\r\n{\"error\":", "an error without its body")]
    [InlineData(Head, "cut inside an event")]
    [InlineData(Head + A + B, "without an end")]
    [InlineData(Head + A + "data: {\"cont", "cut inside an event")]
    [InlineData(Head + B + A + Done, "event 1 is")]
    [InlineData(Head + A + A + Done, "event 2 is")]
    [InlineData(Head + A + B + B + Done, "event 3 is")]
    [InlineData(Head + A + Done, "[DONE] after 1 of 2 events")]
    [InlineData(Head + A + "data: {\"content\":\"b" + Error, "without an end")]
    [InlineData(Head + A + B + Done + Done, "event 3 is")]
    [InlineData(Head + A + Error + Error, "event 2 is")]
    public void What_a_reader_may_not_get_is_named(string answer, string complaint) =>
        Assert.Contains(complaint, Judge(answer), StringComparison.Ordinal);

    private static string? Judge(string answer) =>
        ChaosAnswer.Judge(Encoding.UTF8.GetBytes(answer), [A.TrimEnd(), B.TrimEnd()]);
}
