using System.Text.RegularExpressions;
using Xunit;

namespace StreamingDaemon.Host.Tests;

/// <summary>
/// No two folders of a project depend on each other. A folder depends on another if one of its files names a
/// type that is declared there. The project's root does not count: it is the public surface of all folders.
/// </summary>
public sealed partial class FolderDependencyTests
{
    public static TheoryData<string> Projects =>
        ["StreamingDaemon.Uring", "StreamingDaemon.Backends", "StreamingDaemon.Host"];

    [Theory, MemberData(nameof(Projects))]
    public void Folders_of_a_project_do_not_need_each_other(string project)
    {
        var root = Repository.PathOf("src", project);
        var needs = Needs(Repository.Sources("src", project)
            .Select(file => (FolderOf(Path.GetRelativePath(root, file)), File.ReadAllText(file))));

        Assert.True(needs.Count >= 2, "no folders were found");
        Assert.Empty(Cycle(needs));
    }

    [Fact]
    public void Cycle_of_three_folders_is_found()
    {
        var needs = Needs([
            ("A", "class First { Second s; }"), ("B", "class Second { Third t; }"),
            ("C", "class Third { First f; }"), ("D", "class Fourth { First f; }"),
            ("", "class Public { Fourth f; } // Second"),
        ]);

        Assert.Equal(["A -> B (Second)", "B -> C (Third)", "C -> A (First)"], Cycle(needs));
    }

    [Fact]
    public void Comments_and_texts_need_nothing()
    {
        var needs = Needs([
            ("A", "class First { Second s; }"),
            ("B", "/// <see cref=\"First\"/>\nclass Second { string s = \"First\"; // First\n}"),
        ]);

        Assert.Empty(Cycle(needs));
    }

    /// <summary>The folder directly below the project, or "" at its root.</summary>
    private static string FolderOf(string path) => path.Contains('/', StringComparison.Ordinal)
        ? path[..path.IndexOf('/', StringComparison.Ordinal)] : "";

    /// <summary>For each folder, the folders that it depends on, each with a type that shows it.</summary>
    private static Dictionary<string, SortedDictionary<string, string>> Needs(
        IEnumerable<(string Folder, string Text)> files)
    {
        var code = files.Where(f => f.Folder.Length > 0)
            .Select(f => (f.Folder, Text: NoCode().Replace(f.Text, " "))).ToList();
        var owners = code.SelectMany(f => Declaration().Matches(f.Text).Select(m => (m.Groups["name"].Value, f.Folder)))
            .ToLookup(d => d.Value, d => d.Folder);
        var needs = code.Select(f => f.Folder).Distinct()
            .ToDictionary(folder => folder, _ => new SortedDictionary<string, string>(StringComparer.Ordinal));
        foreach (var (folder, text) in code)
        {
            foreach (var name in Identifier().Matches(text).Where(IsType).Select(m => m.Groups["name"].Value).Distinct())
            {
                // If the folder declares a type with this name too, the name means that type.
                if (!owners.Contains(name) || owners[name].Contains(folder))
                    continue;
                foreach (var owner in owners[name])
                    needs[folder].TryAdd(owner, name);
            }
        }

        return needs;

        // After a dot, a name is a member and not a type, unless the dot follows a folder's name.
        bool IsType(Match name) => !name.Groups["before"].Success || needs.ContainsKey(name.Groups["before"].Value);
    }

    /// <summary>The edges of one cycle; empty if there is no cycle.</summary>
    private static List<string> Cycle(Dictionary<string, SortedDictionary<string, string>> needs)
    {
        var done = new HashSet<string>();
        var path = new List<string>();
        foreach (var folder in needs.Keys.Order(StringComparer.Ordinal))
        {
            if (Visit(folder) is { } start)
            {
                var circle = path[path.IndexOf(start)..];
                return [.. circle.Select((from, i) =>
                {
                    var to = circle[(i + 1) % circle.Count];
                    return $"{from} -> {to} ({needs[from][to]})";
                })];
            }
        }

        return [];

        string? Visit(string folder)
        {
            if (path.Contains(folder))
                return folder;
            if (!done.Add(folder))
                return null;
            path.Add(folder);
            foreach (var needed in needs[folder].Keys)
            {
                if (Visit(needed) is { } start)
                    return start;
            }

            path.RemoveAt(path.Count - 1);
            return null;
        }
    }

    /// <summary>Comments, and string literals of every kind.</summary>
    [GeneratedRegex("""
        "{3,}[\s\S]*?"{3,}|"(\\.|[^"\\\n])*"|//[^\n]*|/\*[\s\S]*?\*/
        """, RegexOptions.IgnorePatternWhitespace)]
    private static partial Regex NoCode();

    /// <summary>Top-level types of a file; a nested type belongs to its outer type.</summary>
    [GeneratedRegex(@"^(?=\S).*?\b(?:class|struct|interface|enum|record(?: struct| class)?|delegate [\w<>\[\]?]+) (?<name>[A-Z]\w*)",
        RegexOptions.Multiline)]
    private static partial Regex Declaration();

    [GeneratedRegex(@"(?:\b(?<before>\w+)\??\.\s*|(?<![.\w]))(?<name>[A-Z]\w*)")]
    private static partial Regex Identifier();
}
