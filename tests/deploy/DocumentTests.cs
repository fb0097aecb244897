using System.Globalization;
using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>What the operators' pages refer to, against what is there.</summary>
public sealed partial class DocumentTests
{
    /// <summary>Those that operators set options from.</summary>
    private static readonly string[] Guides = ["docs/operations.md", "docs/kubernetes.md"];

    private static readonly string[] Pages =
        [.. Guides, "docs/seccomp.md", "CONTRIBUTING.md", "CHANGELOG.md"];

    [Fact]
    public void Every_alert_leads_to_its_section_and_every_section_has_its_alert()
    {
        var page = File.ReadAllText(Tool.InRepository("docs", "operations.md"));
        var sections = Section().Matches(page).Select(m => m.Groups[1].Value);
        var runbooks = Runbook().Matches(File.ReadAllText(Expressions.AlertsPath)).Select(m => m.Groups[1].Value);

        Assert.Equal(Expressions.OfAlerts().Names.Order(), sections.Order());
        Assert.Equal(Expressions.OfAlerts().Names.Select(n => n.ToLowerInvariant()), runbooks);
    }

    [Fact]
    public void Links_and_named_files_lead_somewhere()
    {
        foreach (var page in Pages)
        {
            var text = File.ReadAllText(Tool.InRepository(page));
            var directory = Path.GetDirectoryName(Tool.InRepository(page))!;
            var links = Link().Matches(text).Select(m => Path.Combine(directory, m.Groups[1].Value));
            var named = NamedFile().Matches(text).Select(m => Tool.InRepository(m.Value));
            Assert.All(links.Concat(named), path => Assert.True(Path.Exists(path), $"{page}: {path}"));
        }
    }

    [Fact]
    public async Task Descriptors_of_the_capacity_table_are_what_the_daemon_wants()
    {
        var page = File.ReadAllText(Tool.InRepository("docs", "operations.md"));
        var rows = Capacity().Matches(page);

        Assert.Equal(3, rows.Count);
        foreach (Match row in rows)
        {
            var (connections, http2, http1) = (Number(1), Number(2), Number(3));
            await Descriptors.AreEnoughAsync(http2, connections, http2: true);
            await Descriptors.AreEnoughAsync(http1, connections, http2: false);

            long Number(int group) => long.Parse(row.Groups[group].Value.Replace(" ", "", StringComparison.Ordinal),
                CultureInfo.InvariantCulture);
        }
    }

    [Fact]
    public void Options_and_tests_that_the_pages_name_exist()
    {
        var reference = File.ReadAllText(Tool.InRepository("docs", "configuration.md"));
        var tests = string.Concat(Directory.EnumerateFiles(Tool.InRepository("tests"), "*.cs",
            SearchOption.AllDirectories).Select(File.ReadAllText));
        foreach (var page in Pages.Append("SECURITY.md"))
        {
            var text = File.ReadAllText(Tool.InRepository(page));
            if (Guides.Contains(page))
            {
                Assert.All(Option().Matches(text).Select(m => m.Groups[1].Value),
                    option => Assert.Contains($"| `{option}` |", reference, StringComparison.Ordinal));
            }

            Assert.All(TestName().Matches(text).Select(m => m.Groups[1].Value),
                name => Assert.Contains($" {name}(", tests, StringComparison.Ordinal));
        }
    }

    [GeneratedRegex(@"^\| ([0-9 ]+) \| [^|]* MB \| ([0-9 ]+) \| ([0-9 ]+) \|$", RegexOptions.Multiline)]
    private static partial Regex Capacity();

    [GeneratedRegex("^### (StreamingDaemon.*)$", RegexOptions.Multiline)]
    private static partial Regex Section();

    [GeneratedRegex(@"runbook: docs/operations\.md#(\w+)")]
    private static partial Regex Runbook();

    [GeneratedRegex(@"\]\(([\w./-]+\.(?:md|yaml))(?:#[\w-]+)?\)")]
    private static partial Regex Link();

    [GeneratedRegex(@"\b(?:tests/)?deploy/[\w./-]*\w\b")]
    private static partial Regex NamedFile();

    [GeneratedRegex(@"`((?:server|streaming|timeouts|rate_limit|performance|monitoring|backend|logging)\.\w+)`")]
    private static partial Regex Option();

    [GeneratedRegex(@"`([A-Z][a-z]+(?:_[A-Za-z0-9]+){3,})`")]
    private static partial Regex TestName();
}
