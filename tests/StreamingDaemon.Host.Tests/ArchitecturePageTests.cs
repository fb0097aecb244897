using System.Text.RegularExpressions;
using Xunit;

namespace StreamingDaemon.Host.Tests;

/// <summary>docs/architecture.md against the sources: a page that names classes is believed.</summary>
public sealed partial class ArchitecturePageTests
{
    /// <summary>The platform's types that the page names.</summary>
    private static readonly HashSet<string> s_foreign = ["Debug", "PosixSignalRegistration", "SseParser", "Utf8JsonReader"];

    private static readonly List<(string Name, string Text)> s_files =
        [.. Repository.Sources("src").Concat(Repository.Sources("tests"))
            .Select(file => (Path.GetFileName(file), File.ReadAllText(file)))];

    private static readonly ILookup<string, string> s_textsOfTypes = s_files
        .SelectMany(file => Declaration().Matches(file.Text).Select(m => (Type: m.Groups[1].Value, file.Text)))
        .ToLookup(declared => declared.Type, declared => declared.Text);

    [Fact]
    public void Every_type_member_file_and_link_of_the_page_exists()
    {
        var page = File.ReadAllText(Repository.PathOf("docs", "architecture.md"));

        Assert.True(NamesIn(page).Count() > 60, "the page names no types");
        var complaints = Complaints(page).ToList();
        Assert.True(complaints.Count == 0, string.Join('\n', complaints));
    }

    [Theory]
    [InlineData("`EventLooper`")]
    [InlineData("`EventLoop.ContinueAcceptance`")]
    [InlineData("`EventLoop.Nothing.cs`")]
    [InlineData("`StreamingDaemon.Uringg`")]
    [InlineData("```mermaid\na[\"EventLooper\"] --> b\n```")]
    [InlineData("[a page](performances.md#x)")]
    public void Lie_is_found(string lie) => Assert.Single(Complaints(lie));

    [Fact]
    public void What_is_no_name_of_ours_is_left_alone() => Assert.Empty(Complaints(
        "`MSG_PEEK`, `max_connections`, `half_close = \"keep\"`, `[A-Za-z0-9_.-]`, `/health`, `Utf8JsonReader`, [x](#y)"));

    private static IEnumerable<string> Complaints(string page) =>
        NamesIn(page).Distinct().Where(name => !Exists(name)).Select(name => $"does not exist: {name}")
            .Concat(Link().Matches(page).Select(m => m.Groups[1].Value).Distinct()
                .Where(path => !Path.Exists(Repository.PathOf("docs", path))).Select(path => $"leads nowhere: {path}"));

    /// <summary>Names in code, and the words of diagrams that are written like a type's.</summary>
    private static IEnumerable<string> NamesIn(string page) =>
        CodeName().Matches(Diagram().Replace(page, "")).Select(m => m.Groups[1].Value)
            .Concat(Diagram().Matches(page).SelectMany(m => TypeLike().Matches(m.Value)).Select(m => m.Value));

    private static bool Exists(string name)
    {
        if (name.EndsWith(".cs", StringComparison.Ordinal))
            return s_files.Exists(file => file.Name == name);
        if (name.StartsWith("StreamingDaemon.", StringComparison.Ordinal))
            return Directory.Exists(Repository.PathOf("src", name));
        var parts = name.Split('.');
        return s_foreign.Contains(parts[0])
            || s_textsOfTypes.Contains(parts[0]) && parts.Skip(1).All(member => IsMember(parts[0], member));
    }

    private static bool IsMember(string type, string member) =>
        s_textsOfTypes[type].Any(text => Regex.IsMatch(text, $@"\b{member}\b"));

    [GeneratedRegex(@"\b(?:class|struct|interface|enum|record|delegate \S+)\s+([A-Z]\w*)")]
    private static partial Regex Declaration();

    /// <summary>One or more words of capitals and small letters, joined by dots.</summary>
    [GeneratedRegex(@"`([A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*(?:\.[A-Z][A-Za-z0-9]*)*(?:\.cs)?)`")]
    private static partial Regex CodeName();

    [GeneratedRegex("^```mermaid$.*?^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Diagram();

    [GeneratedRegex(@"\b[A-Z]+[a-z0-9]+(?:[A-Z]+[a-z0-9]*)+\b")]
    private static partial Regex TypeLike();

    [GeneratedRegex(@"\]\(([^)#]+)(?:#[^)]*)?\)")]
    private static partial Regex Link();
}
