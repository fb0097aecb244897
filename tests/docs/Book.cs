using Markdig;
using Markdig.Extensions.Tables;
using Markdig.Syntax;
using Markdig.Syntax.Inlines;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DocsTests;

/// <summary>Something a reader would paste into a shell: a block of a page, or code in its text.</summary>
internal sealed record Command(string Page, int Line, string Text)
{
    /// <summary>The name that tests use: its first line, without a comment.</summary>
    public string Name { get; } = ShellText.WithoutComment(Text.Split('\n')[0]);

    public override string ToString() => $"{Page}:{Line}: {Name}";
}

/// <summary>Every command of every page of the repository, found by a parser of Markdown.</summary>
internal static class Book
{
    /// <summary>The info string of a block that is not a command: printed output, and drawings.</summary>
    private const string Picture = "text";
    private const string Diagram = "mermaid";

    /// <summary>PHP for a site to paste; tests/apache reads and runs it.</summary>
    private const string Php = "php";

    private static readonly MarkdownPipeline s_pipeline =
        new MarkdownPipelineBuilder().UsePipeTables().UsePreciseSourceLocation().Build();

    /// <summary>Programs that a page may tell to run in its text, not only in its blocks.</summary>
    private static readonly HashSet<string> s_programs =
    [
        "streaming-daemon", "docker", "kubectl", "helm", "runc", "systemctl", "journalctl", "systemd-analyze",
        "sudo", "apt", "apt-get", "dpkg", "apache2ctl", "a2enconf", "apxs", "dotnet", "make", "gcc", "git", "bash",
        "sh", "curl", "cp", "mv", "rm", "mkdir", "chmod", "chown", "install", "sed", "kill", "setpriv", "useradd",
        "prlimit", "sysctl", "promtool", "prometheus", "caddy", "npm", "npx",
    ];

    /// <summary>Pages that programs read, not people.</summary>
    private static readonly string[] s_notPages = ["bin", "obj", "artifacts", "TestResults"];

    public static IReadOnlyList<string> Pages { get; } = [.. PagesBelow(Machine.Repository).Order()];

    public static IReadOnlyList<Command> Commands { get; } =
        [.. Pages.SelectMany(page => CommandsOf(page, Read(page)))];

    /// <summary>The one command of a page with this beginning.</summary>
    public static Command Find(string page, string name) =>
        Commands.FirstOrDefault(c => c.Page == page && c.Name == name)
        ?? throw new InvalidOperationException($"{page} has no command (any more) that begins with: {name}");

    /// <summary>The lines of a page's picture, or of a program's printed output, by its first
    /// words.</summary>
    public static IReadOnlyList<string> Printed(string page, string beginning) =>
        Markdown.Parse(Read(page), s_pipeline).Descendants<FencedCodeBlock>().Where(b => b.Info == Picture)
            .Select(b => b.Lines.ToString())
            .Single(text => text.StartsWith(beginning, StringComparison.Ordinal)).Split('\n');

    /// <exception cref="InvalidOperationException">A block's language is unknown here.</exception>
    public static IEnumerable<Command> CommandsOf(string page, string markdown)
    {
        foreach (var node in Markdown.Parse(markdown, s_pipeline).Descendants())
        {
            var text = node switch
            {
                FencedCodeBlock { Info: Picture or Diagram or Php } => null,
                FencedCodeBlock { Info: not "sh" } other => throw new InvalidOperationException(
                    $"{page}:{other.Line + 1}: a block is sh (it is run), {Picture}, {Diagram} or {Php}, not '{other.Info}'"),
                CodeBlock block => block.Lines.ToString().Trim(),
                CodeInline inline when IsCommand(inline.Content) => inline.Content,
                _ => null,
            };
            if (text is not null)
                yield return new Command(page, LineOf(node) + 1, text);
        }
    }

    private static bool IsCommand(string code)
    {
        var words = ShellText.Commands(code).FirstOrDefault([]).SkipWhile(ShellText.IsAssignment).ToList();
        if (words.Count == 0)
            return false;
        // A program's name alone mostly names something else.
        return words[0].Contains('/', StringComparison.Ordinal) && words[0].EndsWith(".sh", StringComparison.Ordinal)
            || words[0] == ".ci/run"
            || words.Count > 1 && s_programs.Contains(words[0]);
    }

    private static string Read(string page) => File.ReadAllText(Path.Combine(Machine.Repository, page));

    private static int LineOf(MarkdownObject node) =>
        node is Inline { Line: 0, Parent: { } parent } ? LineOf(parent) : node.Line;

    private static IEnumerable<string> PagesBelow(string directory)
    {
        foreach (var file in Directory.EnumerateFiles(directory, "*.md"))
            yield return Path.GetRelativePath(Machine.Repository, file);
        foreach (var child in Directory.EnumerateDirectories(directory))
        {
            if (s_notPages.Contains(Path.GetFileName(child)) || Path.GetFileName(child)[0] == '.')
                continue;
            foreach (var page in PagesBelow(child))
                yield return page;
        }
    }
}
