namespace StreamingDaemon.DeployTests;

/// <summary>The container's image, as far as it can be built and run without an engine.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class ImageTests
{
    [Fact]
    public async Task Image_streams_and_is_healthy_as_a_user_without_rights_on_a_read_only_root()
    {
        var (exitCode, said) = await Tool.RunAsync(
            Tool.InRepository("deploy", "test-image.sh"), NativeDaemon.Binary);

        Assert.True(exitCode == 0, said);
        Assert.EndsWith("the image's root runs\n", said, StringComparison.Ordinal);
    }
}
