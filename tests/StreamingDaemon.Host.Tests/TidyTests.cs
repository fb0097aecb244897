using Xunit;

namespace StreamingDaemon.Host.Tests;

/// <summary>The style that a compiler does not see: files, methods and lines stay short.</summary>
public sealed class TidyTests
{
    private const int MaxFileLines = 300;
    private const int MaxMethodLines = 70;
    private const int MaxColumns = 110;

    [Fact]
    public void Files_methods_and_lines_of_the_sources_stay_within_their_limits()
    {
        var files = Directory.EnumerateFiles(Path.Combine(Root(), "src"), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal) && !f.Contains("/bin/", StringComparison.Ordinal))
            .ToList();

        Assert.NotEmpty(files);
        var complaints = files.SelectMany(Complaints).ToList();
        Assert.True(complaints.Count == 0, string.Join('\n', complaints));
    }

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
            // A member's braces stand at the first level of indentation, as dotnet format has them.
            if (lines[i] == "    {")
                opened = i;
            else if (lines[i] == "    }" && opened >= 0 && i - opened > MaxMethodLines)
                yield return $"{file}:{opened}: a member of {i - opened} lines";
        }
    }

    private static string Root()
    {
        var directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "StreamingDaemon.sln")))
            directory = Path.GetDirectoryName(directory) ?? throw new InvalidOperationException("no solution above");
        return directory;
    }
}
