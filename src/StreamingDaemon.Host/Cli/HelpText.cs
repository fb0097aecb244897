using System.CommandLine;
using System.CommandLine.Parsing;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Cli;

/// <summary>The command line's own texts, beyond its options.</summary>
internal static class HelpText
{
    private const int ShorterThanAnyKey = 12;
    private const string SeeHelp = "see " + CommandLine.ProgramName + " --help";

    /// <summary>Printed below the options.</summary>
    public static string Epilogue(OptionTable table, IEnumerable<string> searchPaths) =>
        $"""
        Configuration, each over the next:
          command line, environment, TOML file, appsettings.json next to the binary, defaults

        Files, if --config names none:
          {string.Join(Environment.NewLine + "  ", searchPaths)}

        Environment:
          STREAMING_DAEMON_SECTION__KEY for every option, such as {table.All[0].EnvName};
          {string.Join(", ", table.All.Where(s => s.EnvAlias is not null).Select(s => s.EnvAlias))}

        Exit code:
          0 done, 1 failed while running, 2 wrong command line or configuration,
          130 or 143 ended by a second SIGINT or SIGTERM

        """;

    /// <summary>What is wrong with a command line, and what was probably meant; nothing if it is
    /// right.</summary>
    public static IEnumerable<string> Explain(CommandTree tree, ParseResult result)
    {
        // The library takes a first word in brackets for a directive, known or not, and skips it.
        foreach (var directive in result.Tokens.Where(token => token.Type == TokenType.Directive))
            yield return Unknown(directive.Value, tree, result);
        var unknown = result.UnmatchedTokens.ToList();
        for (var i = 0; i < unknown.Count; i++)
        {
            // The word after an unknown option is most likely its value.
            if (i == 0 || unknown[i].StartsWith('-') || !unknown[i - 1].StartsWith('-'))
                yield return Unknown(unknown[i], tree, result);
        }
        foreach (var error in result.Errors)
        {
            if (!unknown.Exists(word => error.Message.Contains($"'{word}'", StringComparison.Ordinal)))
                yield return $"{error.Message.TrimEnd('.')}; {SeeHelp}";
        }
    }

    /// <summary>A word after an unknown option, or one that stands alone, may be a key. Show only the part
    /// that cannot be one.</summary>
    private static string Unknown(string word, CommandTree tree, ParseResult result)
    {
        var name = word.Split('=')[0];
        var closest = word.Length > 2 && Spelling.Closest(name, tree.NamesFor(result)) is { } near
            && near != word ? near : null;
        var what = word.StartsWith('-') ? "option" : "argument";
        return $"unknown {what}{Shown(word, name, closest)}; "
            + (closest is null ? SeeHelp : $"did you mean {closest}?");
    }

    private static string Shown(string word, string name, string? closest)
    {
        if (word.Length <= ShorterThanAnyKey)
            return $" '{word}'";
        if (closest is not null || name.StartsWith("--", StringComparison.Ordinal))
            return $" '{name}'";
        // A short option's value may follow it directly.
        return name.StartsWith('-') ? $" '{name[..2]}'" : "";
    }
}
