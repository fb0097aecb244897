using System.Text.RegularExpressions;

namespace StreamingDaemon.ApacheTests;

/// <summary>What holds for an answer, whichever client read it.</summary>
internal static partial class Expect
{
    public const int Events = 18;
    public const string Done = "data: [DONE]\n\n";

    /// <summary>18 events and the end mark, and nothing after it.</summary>
    public static void WholeStream(string answer, string context = "")
    {
        Assert.True(ContentEvents(answer) == Events, $"{ContentEvents(answer)} events {context}:\n{answer}");
        Assert.EndsWith(Done, answer, StringComparison.Ordinal);
    }

    public static int ContentEvents(string answer) => ContentEvent().Count(answer);

    public static void NoHandoffHeaders(string answer)
    {
        Assert.DoesNotContain("X-Socket-Handoff", answer, StringComparison.OrdinalIgnoreCase);
        Assert.DoesNotContain("X-Handoff-Data", answer, StringComparison.OrdinalIgnoreCase);
        // A positive check, so that an empty answer does not pass.
        Assert.StartsWith("HTTP/", answer, StringComparison.Ordinal);
    }

    /// <summary>What <c>handoff.php?bytes=</c> makes.</summary>
    public static string Numbers(int bytes) =>
        string.Concat(Enumerable.Range(0, bytes / 7 + 1).Select(number => $"{number:D6},"))[..bytes];

    [GeneratedRegex("^data: \\{\"content\":\".+\"\\}$", RegexOptions.Multiline)]
    private static partial Regex ContentEvent();
}
