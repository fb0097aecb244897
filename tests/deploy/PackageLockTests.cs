using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The packages that go into the daemon: locked, and audited.</summary>
public sealed class PackageLockTests
{
    public static TheoryData<string> Projects => [.. File.ReadLines(Tool.InRepository("StreamingDaemon.sln"))
        .SelectMany(line => line.Split('"')).Where(word => word.EndsWith(".csproj", StringComparison.Ordinal))
        .Select(path => path.Replace('\\', '/'))];

    [Theory]
    [MemberData(nameof(Projects))]
    public void Every_package_of_a_project_is_locked_with_its_hash(string project)
    {
        var file = Path.Combine(Path.GetDirectoryName(Tool.InRepository(project))!, "packages.lock.json");

        Assert.True(File.Exists(file), file);
        using var locked = JsonDocument.Parse(File.ReadAllText(file));
        var packages = locked.RootElement.GetProperty("dependencies").EnumerateObject()
            .SelectMany(framework => framework.Value.EnumerateObject())
            .Where(package => package.Value.GetProperty("type").GetString() != "Project");
        Assert.All(packages, package => Assert.NotEqual("", package.Value.GetProperty("contentHash").GetString()));
    }

    [Fact]
    public async Task Builds_audit_all_packages_and_end_at_a_vulnerability_but_not_at_a_source_without_data()
    {
        var properties = await PropertiesAsync();

        Assert.Equal(("true", "all", "low", "true"), (properties("NuGetAudit"), properties("NuGetAuditMode"),
            properties("NuGetAuditLevel"), properties("TreatWarningsAsErrors")));
        // NU1901 to NU1904 are vulnerabilities, by severity.
        var warnings = properties("WarningsNotAsErrors").Split(';');
        Assert.Contains("NU1900", warnings);
        Assert.Contains("NU1905", warnings);
        Assert.DoesNotContain((properties("WarningsNotAsErrors") + properties("NoWarn")).Split(';'),
            code => code is "NU1901" or "NU1902" or "NU1903" or "NU1904");
    }

    [Fact]
    public async Task Build_of_a_ci_takes_the_locked_packages_or_none()
    {
        Assert.Equal("true", (await PropertiesAsync("-p:CI=true"))("RestoreLockedMode"));
        Assert.Equal("", (await PropertiesAsync("-p:CI="))("RestoreLockedMode"));
        Assert.Contains("dotnet restore --locked-mode", await File.ReadAllTextAsync(Tool.InRepository(".ci", "run")),
            StringComparison.Ordinal);
    }

    /// <summary>What MSBuild makes of the properties of the daemon's project.</summary>
    private static async Task<Func<string, string>> PropertiesAsync(params string[] options)
    {
        // The SDK leaves empty directories in it.
        using var temporary = new TempDirectory();
        var (exitCode, said) = await Tool.RunAsync("env",
            [$"TMPDIR={temporary.Path}", "dotnet", "msbuild", Tool.InRepository("src", "StreamingDaemon.Host"), "-nologo", .. options,
                "-getProperty:NuGetAudit,NuGetAuditMode,NuGetAuditLevel,TreatWarningsAsErrors,"
                    + "WarningsNotAsErrors,NoWarn,RestoreLockedMode"]);
        Assert.True(exitCode == 0, said);
        var values = JsonDocument.Parse(said).RootElement.GetProperty("Properties");
        return name => values.GetProperty(name).GetString()!;
    }
}
