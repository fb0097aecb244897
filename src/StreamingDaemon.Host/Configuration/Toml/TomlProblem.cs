using System.Globalization;
using System.Text.RegularExpressions;
using Tomlyn.Syntax;

namespace StreamingDaemon.Host.Configuration.Toml;

/// <summary>
/// Says in our words what the parser found. Its own texts quote the file, which may hold a key: only line
/// numbers are taken from them.
/// </summary>
internal static partial class TomlProblem
{
    private const string Backslash =
        "a backslash within \"…\" begins an escape; write it twice, or use '…'";

    /// <summary>How the parser's text begins, how it ends, and our sentence. The quoted text stands in
    /// between, and can only make us choose another of our sentences.</summary>
    private static readonly (string Begins, string Ends, string Sentence)[] s_sentences =
    [
        ("Expecting `=`", "", "expected = after the key"),
        ("Invalid End-Of-File", "", "text in quotes has no end"),
        ("Invalid newline in a string", "", "text in quotes has no end on its line"),
        ("Unexpected escape", "", Backslash),
        ("Invalid escape", "", Backslash),
        ("Invalid Unicode", "", "an escape in text names no character"),
        ("Invalid control character", "", "a control character stands where TOML allows none"),
        ("Unable to parse the date", "", "the value is no date or time; text goes in quotes"),
        ("Unable to parse", "", "the number is none that TOML has, or too large"),
        ("Invalid size", "", "the number is too large"),
        ("Invalid capital", "", "0x, 0o and 0b are written small"),
        ("Missing a digit", "", "an underscore in a number stands between digits"),
        ("An underscore", "", "an underscore in a number stands between digits"),
        ("Missing a `,`", "", "a comma is missing"),
        ("Unexpected token", "for a value", "the value is none that TOML has; text goes in quotes"),
        ("Unexpected token", "expecting a value", "the value is missing"),
        ("Unexpected token", "token `newline`", "expected the end of the line after the value"),
        ("Unexpected token", "(token: `closebracket`)", "expected ] and the end of the line"),
        ("Unexpected token", "(token: `closebracketdouble`)", "expected ]] and the end of the line"),
        ("Unexpected token", "for an array", "the array has no closing ]"),
        ("Unexpected token", "for a base key", "a part of the key is missing"),
    ];

    public static bool IsLeadingZero(DiagnosticMessage message) =>
        message.Message.StartsWith("Unexpected leading zero", StringComparison.Ordinal);

    public static string Explain(DiagnosticMessage message, TomlText text, OptionTable table)
    {
        var again = Redefinition().Match(message.Message);
        if (again.Success)
        {
            var line = text.LineOf(int.Parse(again.Groups["line"].Value, CultureInfo.InvariantCulture));
            var key = again.Groups["key"].Value.Trim().Replace('.', ':');
            var name = table.NameToShow(key) ?? "this key";
            return $"{name} is already defined on line {line}; keep one";
        }

        foreach (var (begins, ends, sentence) in s_sentences)
        {
            if (message.Message.StartsWith(begins, StringComparison.Ordinal)
                && message.Message.EndsWith(ends, StringComparison.Ordinal))
            {
                return sentence;
            }
        }

        return "this is not TOML; expected a line such as [section] or key = \"value\"";
    }

    [GeneratedRegex(@"^The key `(?<key>[^`]+)` is already defined at \((?<line>[0-9]{1,7}),")]
    private static partial Regex Redefinition();
}
