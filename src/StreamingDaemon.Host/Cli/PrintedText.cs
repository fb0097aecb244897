using System.Globalization;
using System.Text;

namespace StreamingDaemon.Host.Cli;

/// <summary>Text from others on its way to a terminal, which takes some of it for commands.</summary>
internal static class PrintedText
{
    private const int MaxSentence = 200;

    private const char Replacement = '\uFFFD';

    /// <summary>Unchanged for a file or a pipe; without control characters for a terminal.</summary>
    public static string ForOutput(string text) => Console.IsOutputRedirected ? text : Harmless(text);

    /// <summary>Makes a sentence with text from others safe to print: one line of bounded length, without
    /// characters that change the direction of writing.</summary>
    public static string Sentence(string text, int most = MaxSentence)
    {
        var line = Harmless(text.Length <= most ? text : text[..most] + "…").ReplaceLineEndings(" ");
        return line.Any(IsFormat) ? string.Concat(line.Select(c => IsFormat(c) ? Replacement : c)) : line;
    }

    /// <summary>Removes control characters, except tabs and line ends.</summary>
    public static string Harmless(string text) =>
        text.Any(IsCommand) ? string.Concat(text.Select(c => IsCommand(c) ? Replacement : c)) : text;

    private static bool IsFormat(char c) => char.GetUnicodeCategory(c) is UnicodeCategory.Format;

    private static bool IsCommand(char c) => c is not ('\t' or '\n')
        && char.GetUnicodeCategory(c) is UnicodeCategory.Control;
}
