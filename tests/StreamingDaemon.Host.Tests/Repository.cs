namespace StreamingDaemon.Host.Tests;

/// <summary>Files of the checkout from which these tests were built.</summary>
internal static class Repository
{
    public static string Root { get; } = FindRoot();

    public static string PathOf(params string[] parts) => Path.Combine([Root, .. parts]);

    /// <summary>All C# files below a directory, except those that a build made.</summary>
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
