using System.Text.RegularExpressions;

namespace StreamingDaemon.DocsTests;

/// <summary>As much of a shell's grammar as the commands that cannot be run need.</summary>
internal static partial class ShellText
{
    /// <summary>A script's simple commands, as words: quotes and comments are removed, variables stay as
    /// written.</summary>
    public static IEnumerable<IReadOnlyList<string>> Commands(string script)
    {
        var command = new List<string>();
        foreach (Match token in Tokens().Matches(script.Replace("\\\n", " ", StringComparison.Ordinal)))
        {
            if (token.Groups["word"].Success)
            {
                command.Add(Unquoted(token.Value));
            }
            else if (!token.Groups["comment"].Success && command.Count > 0)
            {
                yield return command;
                command = [];
            }
        }

        if (command.Count > 0)
            yield return command;
    }

    public static bool IsAssignment(string word) => Assignment().IsMatch(word);

    public static string WithoutComment(string line) => Comment().Replace(line, "").Trim();

    private static string Unquoted(string word) => Quotes().Replace(word, "");

    [GeneratedRegex("""(?<comment>(?<!\S)#.*$)|(?<word>(?:"[^"]*"|'[^']*'|[^\s"';|&()])+)|&&|\|\||[;|&()\n]""",
        RegexOptions.Multiline)]
    private static partial Regex Tokens();

    [GeneratedRegex("""["']""")]
    private static partial Regex Quotes();

    [GeneratedRegex("^[A-Z_][A-Z0-9_]*=")]
    private static partial Regex Assignment();

    [GeneratedRegex(@"(^|\s+)#\s.*$")]
    private static partial Regex Comment();
}
