using System.Globalization;
using System.Text;

namespace StreamingDaemon.Host.Cli;

/// <summary>Text of others on its way to a terminal, which takes some of it for commands.</summary>
internal static class PrintedText
{
    private const int MaxSentence = 200;

    /// <summary>As it is for a file or a pipe; for a terminal without control characters.</summary>
    public static string ForOutput(string text) => Console.IsOutputRedirected ? text : Harmless(text);

    /// <summary>A sentence with text of others in it.</summary>
    public static string Sentence(string text) =>
        Harmless(text.Length <= MaxSentence ? text : text[..MaxSentence] + "…").ReplaceLineEndings(" ");

    /// <summary>Without control characters but the tabulator and line ends.</summary>
    public static string Harmless(string text) =>
        text.Any(IsCommand) ? string.Concat(text.Select(c => IsCommand(c) ? '\uFFFD' : c)) : text;

    private static bool IsCommand(char c) => c is not ('\t' or '\n')
        && char.GetUnicodeCategory(c) is UnicodeCategory.Control;
}
