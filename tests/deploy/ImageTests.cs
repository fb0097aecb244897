namespace StreamingDaemon.DeployTests;

/// <summary>The image's labels.</summary>
public sealed class ImageLabelTests
{
    [Fact]
    public void Image_names_its_commit_which_compose_and_the_guide_pass_on()
    {
        var image = File.ReadAllText(Tool.InRepository("Dockerfile"));

        Assert.Contains("image.revision=\"$REVISION\"", image, StringComparison.Ordinal);
        // An argument holds for one stage.
        Assert.Equal(2, image.Split("\nARG REVISION\n").Length - 1);
        Assert.Contains("${REVISION:+-p:SourceRevisionId=$REVISION}", image, StringComparison.Ordinal);
        var compose = Yaml.Read(File.ReadAllText(Tool.InRepository("docker-compose.yml")));
        Assert.Equal("${REVISION:-}", $"{compose["services"]["daemon"]["build"]["args"]["REVISION"]}");
        Assert.Contains("--build-arg REVISION=\"$(git rev-parse HEAD)\"",
            File.ReadAllText(Tool.InRepository("docs", "kubernetes.md")), StringComparison.Ordinal);
    }
}

/// <summary>docker-compose.yml in Docker's own engine, on base images of this machine's packages.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class EngineTests
{
    [Fact]
    public async Task Compose_builds_both_images_streams_outlives_a_crash_and_stops_without_cutting_a_stream()
    {
        var (exitCode, said) = await Tool.RunAsync(Tool.InRepository("deploy", "test-compose.sh"), NativeDaemon.Binary);

        Assert.True(exitCode == 0, said);
        Assert.EndsWith("compose runs\n", said, StringComparison.Ordinal);
    }
}

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
