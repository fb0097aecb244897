using System.Runtime.CompilerServices;
using System.Text;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>
/// streaming-daemon.toml and the table of docs/configuration.md, generated from the option table. After a
/// change of the table, run the tests with UPDATE_REFERENCE_PAGES=1 to write them again.
/// </summary>
internal static class ReferencePages
{
    public const string TableBegin = "<!-- options: written by ReferencePages.cs -->";
    public const string TableEnd = "<!-- end of options -->";

    public static bool Update => Environment.GetEnvironmentVariable("UPDATE_REFERENCE_PAGES") == "1";

    public static string TomlPath => Path.Combine(Root(), "streaming-daemon.toml");
    public static string DocumentPath => Path.Combine(Root(), "docs", "configuration.md");

    public static string Toml(OptionTable? of = null)
    {
        var table = of ?? OptionTable.BuiltIn;
        var text = new StringBuilder(
            """
            # Configuration of streaming-daemon. Every option is here with its default: what is
            # commented out changes nothing. See docs/configuration.md for what is read in which
            # order, and try a change with: streaming-daemon check --config FILE

            """);
        foreach (var section in table.Sections)
        {
            text.Append($"\n[{section}]\n");
            foreach (var spec in table.All.Where(spec => spec.Section == section))
            {
                text.Append('\n');
                AppendComment(text, $"{spec.Description}.");
                AppendComment(text, spec.Cost);
                AppendComment(text, $"Values: {spec.Range}.{Reload(spec)}");
                text.Append($"# {spec.Name} = {spec.ToToml(table.Defaults)}\n");
            }
        }
        return text.ToString();
    }

    /// <summary>The sentence as comment lines of at most 90 columns.</summary>
    private static void AppendComment(StringBuilder text, string sentence)
    {
        var column = 0;
        foreach (var word in sentence.Split(' '))
        {
            if (column == 0 || column + 1 + word.Length > 90)
            {
                text.Append(column == 0 ? "#" : "\n#");
                column = 1;
            }
            text.Append(' ').Append(word);
            column += 1 + word.Length;
        }
        text.Append('\n');
    }

    public static string Table()
    {
        var text = new StringBuilder(
            "| TOML key | command line | environment | default | range | meaning |\n" +
            "|---|---|---|---|---|---|\n");
        foreach (var spec in OptionTable.BuiltIn.All)
            text.Append(Row(spec));
        return text.ToString();
    }

    private static string Row(OptionSpec spec)
    {
        var cli = spec.Cli is null ? "" : string.Join(' ', new[] { spec.Cli.Short, spec.Cli.Long }
            .Where(name => name is not null)
            .Select(name => $"`{name}`"));
        var variables = spec.EnvAlias is null ? $"`{spec.EnvName}`" : $"`{spec.EnvAlias}`, `{spec.EnvName}`";
        return $"| `{spec.DottedKey}` | {cli} | {variables} | `{spec.ToToml(OptionTable.BuiltIn.Defaults)}` " +
            $"| {spec.Range} | {spec.Description}. {spec.Cost}{Reload(spec)} |\n";
    }

    private static string Reload(OptionSpec spec) => spec.Reloadable ? " Read again on SIGHUP." : "";

    private static string Root([CallerFilePath] string here = "") =>
        Path.GetFullPath(Path.Combine(Path.GetDirectoryName(here)!, "..", "..", ".."));
}
