namespace StreamingDaemon.DeployTests;

/// <summary>The Debian package, in a root of its own.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class PackageTests
{
    [Fact]
    public async Task Package_installs_streams_as_its_user_and_leaves_nothing_behind()
    {
        var (exitCode, said) = await Tool.RunAsync(
            Tool.InRepository("deploy", "debian", "test-package.sh"), NativeDaemon.Binary);

        Assert.True(exitCode == 0, said);
        Assert.EndsWith("the package comes and goes\n", said, StringComparison.Ordinal);
    }
}
