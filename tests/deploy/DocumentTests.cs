using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>References of the operators' pages, against what exists.</summary>
public sealed partial class DocumentTests
{
    /// <summary>The pages that operators set options from.</summary>
    private static readonly string[] s_guides = ["docs/operations.md", "docs/runbooks.md", "docs/kubernetes.md"];

    private static readonly string[] s_pages =
        [.. s_guides, "docs/seccomp.md", "CONTRIBUTING.md", "CHANGELOG.md"];

    [Fact]
    public void Every_alert_leads_to_its_section_and_every_section_has_its_alert()
    {
        var page = File.ReadAllText(Tool.InRepository("docs", "runbooks.md"));
        var sections = Section().Matches(page).Select(m => m.Groups[1].Value);
        var runbooks = Runbook().Matches(File.ReadAllText(Expressions.AlertsPath)).Select(m => m.Groups[1].Value)
            .Select(address => new Uri(address, UriKind.Absolute)).ToList();

        Assert.Equal(Expressions.OfAlerts().Names.Order(), sections.Order());
        Assert.Equal(Expressions.OfAlerts().Names.Select(n => "#" + n.ToLowerInvariant()),
            runbooks.Select(address => address.Fragment));
        // One address, which the guide's command changes.
        Assert.Equal(["https://runbooks.example"], runbooks.Select(a => a.GetLeftPart(UriPartial.Authority)).Distinct());
    }

    [Fact]
    public void Links_and_named_files_lead_somewhere()
    {
        foreach (var page in s_pages)
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

    private static string OurVersion { get; } = Version().Match(
        File.ReadAllText(Tool.InRepository("Directory.Build.props"))).Groups[1].Value;

    [Fact]
    public void Version_is_one_wherever_it_is_written()
    {
        var version = OurVersion;
        var chart = Yaml.Read(File.ReadAllText(Tool.InRepository(HelmChart.Directory, "Chart.yaml")));
        var named = NamedVersion().Matches(string.Concat(s_pages.Append($"{HelmChart.Directory}/README.md")
            .Select(page => File.ReadAllText(Tool.InRepository(page)))));

        Assert.Contains($"image.version=\"{version}\"", File.ReadAllText(Tool.InRepository("Dockerfile")),
            StringComparison.Ordinal);
        Assert.Equal([version, version], new[] { $"{chart["version"]}", $"{chart["appVersion"]}" });
        Assert.True(named.Count > 7, "the pages name no images");
        Assert.All(named, name => Assert.Equal(version, name.Groups[1].Value));
    }

    [Fact]
    public void Changes_are_those_to_come_and_those_of_each_version_the_newest_first()
    {
        var sections = File.ReadLines(Tool.InRepository("CHANGELOG.md"))
            .Where(l => l.StartsWith("## ", StringComparison.Ordinal)).ToList();
        var released = sections.Skip(1).ToList();

        Assert.Equal("## [Unreleased]", sections[0]);
        Assert.Matches($"^## \\[{Regex.Escape(OurVersion)}\\] - [0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}$", released[0]);
        Assert.Equal(released.OrderByDescending(s => System.Version.Parse(s.Split('[', ']')[1])), released);
    }

    [Fact]
    public async Task Prometheus_takes_what_the_guide_shows_and_scrapes_the_job_that_the_alerts_name()
    {
        var shown = TextBlock("docs/operations.md", "rule_files:");
        using var directory = new TempDirectory();
        var file = directory.File("prometheus.yml");
        await File.WriteAllTextAsync(file, shown.Replace(
            "/etc/prometheus/streaming-daemon.yml", Expressions.AlertsPath, StringComparison.Ordinal));

        var (exitCode, said) = await Tool.RunAsync(Tool.Promtool, "check", "config", file);

        Assert.True(exitCode == 0, said);
        Assert.Contains($"{Expressions.OfAlerts().Names.Count} rules found", said, StringComparison.Ordinal);
        Assert.Contains($"job=\"{Yaml.Read(shown)["scrape_configs"][0]["job_name"]}\"", Expressions.OfAlerts().Text,
            StringComparison.Ordinal);
    }

    [Fact]
    public void Overlay_of_the_guide_changes_the_images_and_the_file_that_the_base_has()
    {
        var shown = TextBlock("docs/kubernetes.md", "apiVersion:");
        var overlay = (Manifests.Kustomization)Manifests.Read(shown).Single();
        var pod = Manifests.OfBase().OfType<k8s.Models.V1Deployment>().Single().Spec.Template.Spec;
        var images = pod.InitContainers.Concat(pod.Containers).Select(c => c.Image.Split(':')[0]);

        Assert.EndsWith("deploy/kubernetes/base", overlay.Resources!.Single(), StringComparison.Ordinal);
        Assert.Equal(images.Order(), overlay.Images!.Select(i => i.Name).Order());
        var ours = Manifests.OfBaseDirectory.ConfigMapGenerator!.Single();
        var theirs = overlay.ConfigMapGenerator!.Single();
        Assert.Equal((ours.Name, "replace"), (theirs.Name, theirs.Behavior));
        Assert.Equal(ours.Files, theirs.Files);
    }

    [Fact]
    public void Page_of_the_options_says_which_are_read_again_as_its_table_does()
    {
        var page = File.ReadAllText(Tool.InRepository("docs", "configuration.md"));
        var again = page.Split('\n').Where(line => line.Contains("Read again on SIGHUP", StringComparison.Ordinal))
            .Select(line => line.Split('`')[1].Split('.')[0]).Distinct().Order();

        Assert.Equal(["answers", "delivery", "logging", "openai", "rate_limit", "timeouts"], again);
        Assert.Contains("again on SIGHUP: then log level, timeouts, rate limits, answers, delivery and the keys change",
            page, StringComparison.Ordinal);
        Assert.DoesNotContain("read once", page, StringComparison.Ordinal);
    }

    [Fact]
    public void Options_and_tests_that_the_pages_name_exist()
    {
        var reference = File.ReadAllText(Tool.InRepository("docs", "configuration.md"));
        var tests = string.Concat(Directory.EnumerateFiles(Tool.InRepository("tests"), "*.cs",
            SearchOption.AllDirectories).Select(File.ReadAllText));
        foreach (var page in s_pages.Append("SECURITY.md"))
        {
            var text = File.ReadAllText(Tool.InRepository(page));
            if (s_guides.Contains(page))
            {
                Assert.All(Option().Matches(text).Select(m => m.Groups[1].Value),
                    option => Assert.Contains($"| `{option}` |", reference, StringComparison.Ordinal));
            }

            Assert.All(TestName().Matches(text).Select(m => m.Groups[1].Value),
                name => Assert.Contains($" {name}(", tests, StringComparison.Ordinal));
        }
    }

    /// <summary>A block that is not a command, by its first words; in a list, without its
    /// indentation.</summary>
    private static string TextBlock(string page, string beginning)
    {
        var block = TextBlocks().Matches(File.ReadAllText(Tool.InRepository(page)))
            .Single(m => m.Groups[2].Value.TrimStart().StartsWith(beginning, StringComparison.Ordinal));
        var indentation = block.Groups[1].Value;
        return string.Concat(block.Groups[2].Value.Split('\n', StringSplitOptions.RemoveEmptyEntries)
            .Select(line => line[indentation.Length..] + "\n"));
    }

    [GeneratedRegex(@"^( *)```text\n(.*?)^ *```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex TextBlocks();

    [GeneratedRegex("<Version>(.*)</Version>")]
    private static partial Regex Version();

    [GeneratedRegex(@"(?:streaming-daemon(?:-apache)?:|newTag: )([0-9]+\.[0-9]+\.[0-9]+)")]
    private static partial Regex NamedVersion();

    [GeneratedRegex(@"^\| ([0-9 ]+) \| ([0-9 ]+) \| ([0-9 ]+) \|$", RegexOptions.Multiline)]
    private static partial Regex Capacity();

    [GeneratedRegex("^### (StreamingDaemon.*)$", RegexOptions.Multiline)]
    private static partial Regex Section();

    [GeneratedRegex(@"runbook_url: (\S+)")]
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
