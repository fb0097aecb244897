namespace StreamingDaemon.ApacheTests;

/// <summary>Programs of these tests that use a package of npm, unmodified.</summary>
internal static class NpmPackages
{
    /// <summary>Installs what a folder's <c>package.json</c> names.</summary>
    /// <param name="folder">Folder of these tests, beside the test program.</param>
    /// <param name="script">Program in it.</param>
    /// <returns>Path of the program.</returns>
    public static string Install(string folder, string script)
    {
        string directory = Path.Combine(AppContext.BaseDirectory, folder);
        var (exitCode, said) = ChildProcess.Run(Tools.Npm, "install", "--prefix", directory, "--ignore-scripts",
            "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline");
        Assert.True(exitCode == 0, said);
        return Path.Combine(directory, script);
    }
}
