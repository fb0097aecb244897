using System.Text;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Tests;

/// <summary>Answers as daemons send them, whole and otherwise.</summary>
internal static class Answers
{
    public const string Head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        + "Connection: close\r\nX-Accel-Buffering: no\r\n\r\n";

    public const string Done = "data: [DONE]\n\n";

    public static readonly AnswerShape ThreeEvents = new(3, IsMock: false);

    public static byte[] Whole => Bytes(Head + Event("one") + Event("two") + Event("three") + Done);

    public static ExpectedStream Expected => ExpectedStream.Learn(Whole, ThreeEvents);

    public static string Event(string text) => $"data: {{\"content\":\"{text}\"}}\n\n";

    public static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);

    /// <summary>Eighteen texts in the scheme of the mock backends.</summary>
    public static List<string> MockTexts() =>
    [
        "Hello! Prompt: (none)", "User ID: 7",
        .. Enumerable.Range(3, 10).Select(i => $"text {i}"),
        .. Enumerable.Range(13, 5).Select(i => $"This is message {i} of 18."),
        "[DONE-CONTENT]",
    ];
}
