using System.Text.RegularExpressions;
using Xunit;

namespace StreamingDaemon.Host.Tests;

/// <summary>Style rules that the compiler does not check: files, methods and lines stay short.</summary>
public sealed partial class TidyTests
{
    private const int MaxFileLines = 300;
    private const int MaxMethodLines = 70;
    private const int MaxColumns = 110;

    [Fact]
    public void Files_methods_and_lines_of_the_sources_stay_within_their_limits()
    {
        var files = Repository.Sources("src").ToList();

        Assert.NotEmpty(files);
        var complaints = files.SelectMany(Complaints).ToList();
        Assert.True(complaints.Count == 0, string.Join('\n', complaints));
    }

    [Theory]
    [InlineData("docs/faults.md")]
    [InlineData("SECURITY.md")]
    public void Tests_that_a_page_names_exist(string page)
    {
        var tests = Repository.Sources("tests")
            .SelectMany(file => TestName().Matches(File.ReadAllText(file)).Select(m => m.Groups["name"].Value)).ToHashSet();

        var named = NameInPage().Matches(File.ReadAllText(Repository.PathOf(page)))
            .Select(m => m.Groups[1].Value).ToList();

        Assert.True(named.Count > 5, "the page names no tests");
        Assert.Empty(named.Except(tests));
    }

    [GeneratedRegex(@"^    public (?:(?:async )?Task|void) (?<name>\w+)\(|^public sealed (?:partial )?class (?<name>\w+Tests)\b",
        RegexOptions.Multiline)]
    private static partial Regex TestName();

    /// <summary>Names of tests, with capitals and underscores, and names of test classes.</summary>
    [GeneratedRegex("`([A-Z][a-zA-Z0-9]*_[a-zA-Z0-9_]*[a-z][a-zA-Z0-9_]*|[A-Z]\\w+Tests)`")]
    private static partial Regex NameInPage();

    private static IEnumerable<string> Complaints(string file)
    {
        var lines = File.ReadAllLines(file);
        if (lines.Length > MaxFileLines)
            yield return $"{file}: {lines.Length} lines";
        var opened = -1;
        for (var i = 0; i < lines.Length; i++)
        {
            if (lines[i].Length > MaxColumns)
                yield return $"{file}:{i + 1}: {lines[i].Length} columns";
            // dotnet format puts a member's braces at the first level of indentation.
            if (lines[i] == "    {")
                opened = i;
            else if (lines[i] == "    }" && opened >= 0 && i - opened > MaxMethodLines)
                yield return $"{file}:{opened}: a member of {i - opened} lines";
        }
    }
}
