using System.Globalization;
using System.Security.Cryptography;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The package sources of an imaginary machine: apt reads them if <c>APT_CONFIG</c> names
/// <see cref="ConfigurationPath"/>, instead of anything of this machine's.</summary>
internal sealed class PackageSources
{
    private readonly TempDirectory _directory;
    private readonly List<string> _sources = [];

    public PackageSources(TempDirectory directory)
    {
        _directory = directory;
        foreach (var name in (string[])["etc", "state/lists/partial", "cache/archives/partial"])
            Directory.CreateDirectory(directory.File(name));
        File.WriteAllText(directory.File("state/status"), "");
        File.WriteAllText(ConfigurationPath, $"""
            Dir "{directory.Path}";
            Dir::Etc "{directory.File("etc")}";
            Dir::State "{directory.File("state")}";
            Dir::State::status "{directory.File("state/status")}";
            Dir::Cache "{directory.File("cache")}";
            APT::Architecture "amd64";
            APT::Sandbox::User "";

            """);
    }

    public string ConfigurationPath => _directory.File("apt.conf");

    /// <summary>Adds the archive of one release, named in the sources by its codename or by its suite ("stable").
    /// </summary>
    public PackageSources Add(string codename, string suite, bool bySuite, params string[] packages)
    {
        var named = bySuite ? suite : codename;
        var root = _directory.File(codename);
        var release = Path.Combine(root, "dists", named);
        var lists = Directory.CreateDirectory(Path.Combine(release, "main", "binary-amd64")).FullName;
        var list = string.Concat(packages.Select(name => $"""
            Package: {name}
            Version: 3.0
            Architecture: amd64
            Maintainer: none <none@localhost>
            Filename: pool/{name}.deb
            Size: 1
            SHA256: {new string('0', 64)}
            Description: none


            """));
        var listPath = Path.Combine(lists, "Packages");
        File.WriteAllText(listPath, list);
        var hash = Convert.ToHexStringLower(SHA256.HashData(File.ReadAllBytes(listPath)));
        File.WriteAllText(Path.Combine(release, "Release"), string.Create(CultureInfo.InvariantCulture, $"""
            Suite: {suite}
            Codename: {codename}
            Date: Thu, 01 Jan 2026 00:00:00 UTC
            Architectures: amd64
            Components: main
            SHA256:
             {hash} {new FileInfo(listPath).Length} main/binary-amd64/Packages

            """));
        _sources.Add($"deb [trusted=yes] file:{root} {named} main\n");
        return this;
    }

    /// <summary>An operator does this once: <c>apt-get update</c>.</summary>
    public async Task UpdateAsync()
    {
        await File.WriteAllTextAsync(_directory.File("etc/sources.list"), string.Concat(_sources));
        var (exitCode, said) = await Tool.RunAsync("env", $"APT_CONFIG={ConfigurationPath}", "apt-get", "update");
        Assert.True(exitCode == 0, said);
    }
}
