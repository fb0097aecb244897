using System.Text.RegularExpressions;
using k8s.Models;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The base, the page's overlay and the chart, by kubectl's own kustomize and by Helm itself.</summary>
public sealed partial class ClusterToolTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Kustomize_makes_of_the_base_what_its_files_say()
    {
        var made = await KustomizeAsync(Manifests.BaseDirectory);

        var configuration = made.OfType<V1ConfigMap>().Single();
        Assert.Matches("^streaming-daemon-[0-9a-z]{10}$", configuration.Metadata.Name);
        Assert.Equal(configuration.Metadata.Name, ConfigurationOf(made));
        Assert.All(made.OfType<k8s.IKubernetesObject<V1ObjectMeta>>(), one =>
            Assert.Equal("streaming-daemon", one.Metadata.Labels["app.kubernetes.io/part-of"]));
        // But for the hash, that label and the order of the fields, they are the files.
        static string Bare(object one) =>
            string.Join('\n', Added().Replace(Manifests.Text(one), "").Split('\n').Order(StringComparer.Ordinal));
        Assert.Equal(Manifests.OfBase().Select(Bare).Order(), made.Select(Bare).Order());
    }

    [Fact]
    public async Task Overlay_of_the_page_has_its_images_its_configuration_and_the_component()
    {
        var page = await File.ReadAllTextAsync(Tool.InRepository("docs", "kubernetes.md"));
        var blocks = TextBlocks().Matches(page).Select(m => m.Groups[1].Value).ToList();
        var overlay = blocks.Single(b => b.Contains("kind: Kustomization", StringComparison.Ordinal));
        var components = blocks.Single(b => b.StartsWith("components:", StringComparison.Ordinal));
        var site = Directory.CreateDirectory(_directory.File("site")).FullName;
        await File.WriteAllTextAsync(Path.Combine(site, "kustomization.yaml"), overlay + components);
        await File.WriteAllTextAsync(Path.Combine(site, "config.toml"), "[backend]\nname = \"openai\"\n");
        // A checkout beside the overlay, as the page has it.
        var clone = Directory.CreateDirectory(_directory.File("streaming-daemon")).FullName;
        Assert.Equal(0, (await Tool.RunAsync("cp", "-r", Tool.InRepository("deploy"), clone)).ExitCode);

        var made = await KustomizeAsync(site);

        var pod = made.OfType<V1Deployment>().Single().Spec.Template.Spec;
        var daemon = pod.InitContainers.Single();
        Assert.Equal("registry.example/streaming-daemon:0.1.0", daemon.Image);
        Assert.Equal("registry.example/streaming-daemon-apache:0.1.0", pod.Containers.Single().Image);
        Assert.Contains("openai", made.OfType<V1ConfigMap>().Single().Data["config.toml"], StringComparison.Ordinal);
        Assert.NotEqual(ConfigurationOf(await KustomizeAsync(Manifests.BaseDirectory)), ConfigurationOf(made));
        // The component adds to the pod, and takes nothing from it.
        var claim = made.OfType<V1PersistentVolumeClaim>().Single().Metadata.Name;
        var spool = pod.Volumes.Single(volume => volume.PersistentVolumeClaim?.ClaimName == claim).Name;
        Assert.Contains(daemon.VolumeMounts, mount => mount.Name == spool);
        var before = Manifests.OfBase().OfType<V1Deployment>().Single().Spec.Template.Spec;
        Assert.Equal(before.Volumes.Count + 1, pod.Volumes.Count);
        Assert.Equal(before.InitContainers.Single().VolumeMounts.Count + 1, daemon.VolumeMounts.Count);
        Assert.NotNull(daemon.SecurityContext.SeccompProfile);
        Assert.Equal("Always", daemon.RestartPolicy);
    }

    [Fact]
    public async Task Commands_of_the_page_that_ask_no_cluster_make_the_objects_that_the_pods_mount()
    {
        var kubectl = await ClusterTools.KubectlAsync();
        var (exitCode, said) = await Tool.RunAsync("sh", "-ec", $"""
            "{kubectl}" create configmap streaming-daemon-seccomp --dry-run=client -o yaml \
                --from-file={Tool.InRepository("deploy", "seccomp", "streaming-daemon.json")}
            echo ---
            printf %s sk-test | "{kubectl}" create secret generic streaming-daemon --dry-run=client -o yaml \
                --from-file=openai-api-key=/dev/stdin
            """);

        Assert.True(exitCode == 0, said);
        var profile = Manifests.Read(said.Split("---")[0]).OfType<V1ConfigMap>().Single();
        Assert.Equal(await File.ReadAllTextAsync(Tool.InRepository("deploy", "seccomp", "streaming-daemon.json")),
            profile.Data["streaming-daemon.json"]);
        var files = Manifests.Read(await File.ReadAllTextAsync(
            Tool.InRepository("deploy", "kubernetes", "seccomp", "daemonset.yaml")));
        Assert.Contains(profile.Metadata.Name, files.OfType<V1DaemonSet>().Single()
            .Spec.Template.Spec.Volumes.Select(volume => volume.ConfigMap?.Name));
        Assert.Contains("openai-api-key: c2stdGVzdA==", said, StringComparison.Ordinal);
    }

    /// <summary>The pages name images so, those of sidecars and other first containers too.</summary>
    [Theory]
    [InlineData("base/deployment.yaml", "streaming-daemon", "apache")]
    [InlineData("seccomp/daemonset.yaml", "install", "installed")]
    public async Task Image_of_each_container_can_be_set(string file, params string[] containers)
    {
        var (exitCode, said) = await Tool.RunAsync(await ClusterTools.KubectlAsync(), ["set", "image", "--local",
            "-o", "yaml", "-f", Tool.InRepository("deploy", "kubernetes", file),
            .. containers.Select(name => $"{name}=registry.example/{name}:1")]);

        Assert.True(exitCode == 0, said);
        Assert.Equal(containers.Select(name => $"registry.example/{name}:1").Order(),
            Images().Matches(said).Select(m => m.Groups[1].Value).Order());
    }

    [Theory]
    [InlineData("streaming-daemon")]
    [InlineData("chat", "daemon.backend=openai", "replicas=3", "podMonitor.labels={\"release\":\"prometheus\"}")]
    [InlineData("chat", "deliveries.url=http://127.0.0.1/", "deliveries.claim=spool", "prometheusRule.enabled=false")]
    public async Task Helm_renders_the_chart_as_the_renderer_of_these_tests_does(string release, params string[] set)
    {
        var pairs = set.Select(pair => (pair.Split('=', 2)[0], pair.Split('=', 2)[1])).ToArray();

        var (exitCode, said) = await Tool.RunAsync(await ClusterTools.HelmAsync(), ["template", release,
            Tool.InRepository(HelmChart.Directory),
            .. set.SelectMany(pair => new[] { pair.Contains('{', StringComparison.Ordinal) ? "--set-json" : "--set", pair })]);

        Assert.True(exitCode == 0, said);
        var rendered = Manifests.Read(Notes().Replace(said, "")).Select(Manifests.Text).Order();
        Assert.Equal((await HelmChart.RenderAsync(release, pairs)).Select(Manifests.Text).Order(), rendered);
    }

    [Fact]
    public async Task Helm_finds_no_fault_in_the_chart_and_a_package_of_it_is_whole()
    {
        var helm = await ClusterTools.HelmAsync();
        var (exitCode, said) = await Tool.RunAsync(helm, "lint", "--strict", Tool.InRepository(HelmChart.Directory));
        Assert.True(exitCode == 0, said);
        Assert.DoesNotContain("[WARNING]", said, StringComparison.Ordinal);

        (exitCode, said) = await Tool.RunAsync(
            helm, "package", Tool.InRepository(HelmChart.Directory), "--destination", _directory.Path);
        Assert.True(exitCode == 0, said);
        // The rules are a link in the repository, and a file in a package.
        var package = Directory.GetFiles(_directory.Path, "*.tgz").Single();
        (exitCode, said) = await Tool.RunAsync(helm, "template", "chat", package);
        Assert.True(exitCode == 0, said);
        Assert.Contains("alert: StreamingDaemonDown", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Helm_refuses_deliveries_without_a_claim_and_says_why()
    {
        var (exitCode, said) = await Tool.RunAsync(await ClusterTools.HelmAsync(), "template", "chat",
            Tool.InRepository(HelmChart.Directory), "--set", "deliveries.url=http://127.0.0.1/");

        Assert.NotEqual(0, exitCode);
        Assert.Contains("deliveries.claim", said, StringComparison.Ordinal);
    }

    private static string ConfigurationOf(IReadOnlyList<object> made) => made.OfType<V1Deployment>().Single()
        .Spec.Template.Spec.Volumes.Single(volume => volume.Name == "configuration").ConfigMap.Name;

    private static async Task<IReadOnlyList<object>> KustomizeAsync(string directory)
    {
        var (exitCode, said) = await Tool.RunAsync(await ClusterTools.KubectlAsync(), "kustomize", directory);
        Assert.True(exitCode == 0, said);
        return Manifests.Read(said);
    }

    /// <summary>The hash in the configuration's name, and the label with the lines that only it needs.</summary>
    [GeneratedRegex(@"(?<=name: streaming-daemon)-[0-9a-z]{10}$|\n  labels:\n    app\.kubernetes\.io/part-of: .*(?=\n  \w)|\n    app\.kubernetes\.io/part-of: .*", RegexOptions.Multiline)]
    private static partial Regex Added();

    [GeneratedRegex("^```text\n(.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex TextBlocks();

    [GeneratedRegex("^[ -]*image: (.*)$", RegexOptions.Multiline)]
    private static partial Regex Images();

    /// <summary>What Helm says of links on standard error.</summary>
    [GeneratedRegex("^level=INFO .*\n", RegexOptions.Multiline)]
    private static partial Regex Notes();
}
