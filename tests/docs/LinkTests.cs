using System.Text.RegularExpressions;

namespace StreamingDaemon.DocsTests;

/// <summary>Where the pages' links lead.</summary>
public sealed partial class LinkTests
{
    [Fact]
    public void Every_link_between_pages_leads_to_a_file_and_a_heading()
    {
        var links = Book.Pages.SelectMany(page => Links(page, Read(page))).ToList();

        Assert.True(links.Count > 60, "the links were not found");
        Assert.DoesNotContain(links, link => !Leads(link));
    }

    [Theory]
    [InlineData("[a](docs/nowhere.md)")]
    [InlineData("[a](docs/operations.md#nowhere)")]
    [InlineData("[a](#nowhere)")]
    public void Link_that_leads_nowhere_is_found(string link) =>
        Assert.False(Leads(Assert.Single(Links("README.md", link))));

    private static IEnumerable<(string Page, string Path, string Heading)> Links(string page, string text) =>
        Link().Matches(text).Select(m => (page, m.Groups["path"].Value, m.Groups["heading"].Value))
            .Where(link => !link.Item2.Contains("://", StringComparison.Ordinal));

    private static bool Leads((string Page, string Path, string Heading) link)
    {
        var target = link.Path.Length == 0 ? link.Page
            : Path.GetRelativePath(Machine.Repository,
                Path.Combine(Machine.Repository, Path.GetDirectoryName(link.Page)!, link.Path));
        return Path.Exists(Path.Combine(Machine.Repository, target))
            && (link.Heading.Length == 0
                || Heading().Matches(Read(target)).Any(m => Slug(m.Groups[1].Value) == link.Heading));
    }

    /// <summary>The anchor of a heading.</summary>
    private static string Slug(string heading) =>
        NotInSlug().Replace(heading.Trim().ToLowerInvariant(), "").Replace(' ', '-');

    private static string Read(string page) => File.ReadAllText(Path.Combine(Machine.Repository, page));

    [GeneratedRegex(@"\]\((?<path>[^)#\s]*)(?:#(?<heading>[^)\s]+))?\)")]
    private static partial Regex Link();

    [GeneratedRegex("^#+ (.*)$", RegexOptions.Multiline)]
    private static partial Regex Heading();

    [GeneratedRegex(@"[^\w\- ]")]
    private static partial Regex NotInSlug();
}
