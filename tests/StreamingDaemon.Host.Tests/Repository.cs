namespace StreamingDaemon.Host.Tests;

/// <summary>Files of the checkout that these tests were built from.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    public static string PathOf(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>Every C# file below a directory, but for what a build made.</summary>
    public static IEnumerable<string> Sources(params string[] directory) =>
        Directory.EnumerateFiles(PathOf(directory), "*.cs", SearchOption.AllDirectories)
            .Where(f => !f.Contains("/obj/", StringComparison.Ordinal)
                && !f.Contains("/bin/", StringComparison.Ordinal));

    private static string FindRoot()
    {
        var directory = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(directory, "StreamingDaemon.sln")))
            directory = Path.GetDirectoryName(directory) ?? throw new InvalidOperationException("no solution above");
        return directory;
    }
}
