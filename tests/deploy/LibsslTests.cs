using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>deploy/debian/libssl.sh against apt itself: debootstrap fails on a name that its release does not
/// have.</summary>
public sealed class LibsslTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData("bookworm", false, "libssl3\n")]
    [InlineData("bookworm", true, "libssl3\n")]
    [InlineData("trixie", false, "libssl3t64\n")]
    [InlineData("trixie", true, "libssl3t64\n")]
    public async Task Machine_with_two_releases_in_its_sources_gets_the_name_of_the_one_asked_for(
        string release, bool bySuite, string package)
    {
        await new PackageSources(_directory)
            .Add("bookworm", "oldstable", bySuite, "libssl3")
            .Add("trixie", "stable", bySuite, "libssl3t64").UpdateAsync();

        Assert.Equal((0, package), await AskAsync(release));
    }

    [Theory]
    [InlineData("bookworm", "libssl3")]
    [InlineData("trixie", "libssl3t64")]
    public async Task Machine_with_one_release_in_its_sources_gets_its_name(string release, string package)
    {
        await new PackageSources(_directory).Add(release, "stable", false, package).UpdateAsync();

        Assert.Equal((0, package + "\n"), await AskAsync(release));
    }

    [Fact]
    public async Task Machine_whose_lists_were_removed_gets_the_name_that_is_installed()
    {
        await new PackageSources(_directory).UpdateAsync();

        var (exitCode, said) = await AskAsync("bookworm");

        Assert.Equal(0, exitCode);
        var (_, owners) = await Tool.RunAsync("dpkg-query", "--search", "*/libssl.so.3");
        Assert.StartsWith(said.TrimEnd('\n') + ":", owners, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Roots_of_debootstrap_ask_for_the_name_of_the_release_they_are_made_of()
    {
        foreach (var script in (string[])["deploy/test-image.sh", "deploy/debian/test-package.sh"])
        {
            Assert.Matches("""debootstrap [^\n]*\$\(deploy/debian/libssl\.sh "\$release"\)" "\$release" """,
                await File.ReadAllTextAsync(Tool.InRepository(script)));
        }
    }

    private Task<(int ExitCode, string Output)> AskAsync(string release) =>
        Tool.RunAsync("env", $"APT_CONFIG={_directory.File("apt.conf")}",
            Tool.InRepository("deploy", "debian", "libssl.sh"), release);
}
