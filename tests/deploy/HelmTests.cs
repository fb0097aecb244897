using System.Text.RegularExpressions;
using k8s.Models;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The chart against the kustomize base: two ways to install the same thing.</summary>
public sealed partial class HelmTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Chart_with_its_defaults_is_the_kustomize_base()
    {
        var chart = (await HelmChart.RenderAsync("streaming-daemon")).Select(Manifests.Text)
            .Select(text => OfHelmAlone().Replace(text, ""));

        Assert.Equal(Manifests.OfBase().Select(Manifests.Text).Order(), chart.Order());
    }

    [Fact]
    public void Every_value_is_used_and_every_one_that_is_used_has_a_default()
    {
        var defaults = Yaml.Leaves(File.ReadAllText(Tool.InRepository(HelmChart.Directory, "values.yaml")));

        Assert.Equal(defaults.Keys.Order(), HelmChart.ValuesUsed().Order());
    }

    [Fact]
    public async Task Values_reach_the_objects_and_the_grace_period_follows_the_drain()
    {
        var objects = await HelmChart.RenderAsync("chat", ("daemon.shutdownTimeoutSeconds", "300"),
            ("podMonitor.enabled", "false"), ("prometheusRule.enabled", "false"));

        var deployment = objects.OfType<V1Deployment>().Single();
        var configuration = objects.OfType<V1ConfigMap>().Single();
        Assert.Equal(330, deployment.Spec.Template.Spec.TerminationGracePeriodSeconds);
        Assert.Equal("300", Manifests.Toml(configuration.Data["config.toml"], "shutdown_timeout_s"));
        Assert.Equal("chat", deployment.Metadata.Name);
        Assert.Equal("chat", deployment.Spec.Template.Metadata.Labels["app.kubernetes.io/instance"]);
        Assert.Equal(configuration.Metadata.Name,
            deployment.Spec.Template.Spec.Volumes.Single(v => v.Name == "configuration").ConfigMap.Name);
        Assert.Empty(objects.OfType<Manifests.PodMonitor>());
        Assert.Empty(objects.OfType<Manifests.PrometheusRule>());
    }

    [Fact]
    public async Task Operator_finds_its_objects_by_labels_and_alerts_lead_to_the_sites_runbooks()
    {
        var objects = await HelmChart.RenderAsync("chat", ("podMonitor.labels", """{"release":"prometheus"}"""),
            ("prometheusRule.labels", """{"release":"prometheus"}"""),
            ("prometheusRule.runbooks", "https://wiki/runbooks"), ("networkPolicy.metricsFrom", "watch"),
            ("apache.preStopSeconds", "30"));

        var rule = objects.OfType<Manifests.PrometheusRule>().Single();
        Assert.Equal("prometheus", rule.Metadata!.Labels["release"]);
        Assert.Equal("prometheus", objects.OfType<Manifests.PodMonitor>().Single().Metadata!.Labels["release"]);
        Assert.All(rule.Spec!.Groups!.Single().Rules!, alert =>
            Assert.Equal($"https://wiki/runbooks#{alert.Name!.ToLowerInvariant()}", alert.Annotations!["runbook_url"]));
        Assert.Contains("watch", objects.OfType<V1NetworkPolicy>().Single().Spec.Ingress
            .SelectMany(rule => rule.FromProperty ?? []).Single().NamespaceSelector.MatchLabels.Values);
        var pod = objects.OfType<V1Deployment>().Single().Spec.Template.Spec;
        Assert.StartsWith("sleep 30;", pod.Containers.Single().Lifecycle.PreStop.Exec.Command[^1], StringComparison.Ordinal);
        Assert.Equal(120 + 30 + 25, pod.TerminationGracePeriodSeconds);
    }

    [Fact]
    public async Task Changed_configuration_changes_the_pod_and_anything_else_does_not()
    {
        static string Sum(IReadOnlyList<object> objects) => objects.OfType<V1Deployment>().Single()
            .Spec.Template.Metadata.Annotations["checksum/config"];

        var sum = Sum(await HelmChart.RenderAsync("chat"));
        Assert.Matches("^[0-9a-f]{64}$", sum);
        Assert.NotEqual(sum, Sum(await HelmChart.RenderAsync("chat", ("rateLimit.requests", "10"))));
        Assert.Equal(sum, Sum(await HelmChart.RenderAsync("chat", ("replicas", "9"))));
    }

    [Fact]
    public async Task Daemon_takes_what_the_values_say_of_the_model_and_the_limits()
    {
        var objects = await HelmChart.RenderAsync("chat",
            ("daemon.backend", "openai"), ("daemon.maxConnections", "1000000"),
            ("openai.model", "llama"), ("openai.apiBase", "http://llama.chat.svc:8080/v1"),
            ("openai.http2", "false"), ("rateLimit.requests", "20"),
            ("rateLimit.windowSeconds", "30"), ("rateLimit.concurrentStreams", "2"),
            ("daemon.extraEnv", """[{"name":"STREAMING_DAEMON_LOGGING__LEVEL","value":"debug"}]"""));
        var text = objects.OfType<V1ConfigMap>().Single().Data["config.toml"];
        var file = _directory.File("config.toml");
        await File.WriteAllTextAsync(file, text);

        var (exitCode, said, error) = await DaemonProcess.RunAsync(
            new Dictionary<string, string> { ["OPENAI_API_KEY"] = "sk-of-the-test" },
            "check", "--config", file, "--socket", _directory.File("s"), "--metrics", "0");

        Assert.True(exitCode == 0, said + error);
        Assert.Contains("backend openai", said, StringComparison.Ordinal);
        Assert.Equal(
            ["1000000", "llama", "http://llama.chat.svc:8080/v1", "false", "20", "30", "2"],
            ((string[])["max_connections", "model", "api_base", "http2_enabled", "requests", "window_s",
                "concurrent_streams"]).Select(key => Manifests.Toml(text, key)));
        var daemon = objects.OfType<V1Deployment>().Single().Spec.Template.Spec.InitContainers.Single();
        Assert.Equal("debug", daemon.Env.Single(e => e.Name == "STREAMING_DAEMON_LOGGING__LEVEL").Value);
    }

    [Theory]
    [InlineData("mock", "chat", false, true)]
    [InlineData("openai", "chat", true, true)]
    [InlineData("openai", "", false, false)]
    public async Task Key_is_a_mounted_file_if_the_backend_needs_one(
        string backend, string secret, bool isRead, bool isMounted)
    {
        var objects = await HelmChart.RenderAsync("chat", ("daemon.backend", backend), ("daemon.secret", secret));

        var pod = objects.OfType<V1Deployment>().Single().Spec.Template.Spec;
        var daemon = pod.InitContainers.Single();
        var file = daemon.Env?.SingleOrDefault(variable => variable.Name == "OPENAI_API_KEY_FILE")?.Value;
        Assert.Equal(isRead ? "/var/run/secrets/streaming-daemon/openai-api-key" : null, file);
        var volume = pod.Volumes.SingleOrDefault(v => v.Name == "key");
        Assert.Equal(isMounted ? secret : null, volume?.Secret.SecretName);
        // A pod waits for a key that it needs, and the event names the secret.
        Assert.Equal(isMounted ? !isRead : null, volume?.Secret.Optional);
        Assert.Equal(isMounted, daemon.VolumeMounts.Any(mount => mount.Name == "key"));
    }

    [Fact]
    public async Task Deliveries_have_a_claim_for_their_spool_and_a_secret_and_the_daemon_takes_them()
    {
        var objects = await HelmChart.RenderAsync("chat",
            ("deliveries.url", "http://127.0.0.1/chat/deliver.php"), ("deliveries.claim", "spool"));

        var pod = objects.OfType<V1Deployment>().Single().Spec.Template.Spec;
        var volume = pod.Volumes.Single(v => v.PersistentVolumeClaim?.ClaimName == "spool");
        Assert.Equal("/var/lib/streaming-daemon",
            pod.InitContainers.Single().VolumeMounts.Single(m => m.Name == volume.Name).MountPath);
        Assert.DoesNotContain(volume.Name, pod.Containers.Single().VolumeMounts.Select(m => m.Name));
        var text = objects.OfType<V1ConfigMap>().Single().Data["config.toml"];
        var secret = _directory.File("delivery-secret");
        await File.WriteAllTextAsync(secret, DeliveryReceiver.Secret);
        var file = _directory.File("config.toml");
        await File.WriteAllTextAsync(file,
            text.Replace(Manifests.Toml(text, "secret_file"), secret, StringComparison.Ordinal));
        var (exitCode, said, error) = await DaemonProcess.RunAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = _directory.File("spool") },
            "check", "--config", file, "--socket", _directory.File("s"), "--metrics", "0");
        Assert.True(exitCode == 0, said + error);
        Assert.Contains("to http://127.0.0.1, signed", said, StringComparison.Ordinal);

        // A spool that ends with its pod would lose answers.
        var refused = await Assert.ThrowsAnyAsync<Exception>(() => HelmChart.RenderAsync("chat",
            ("deliveries.url", "http://127.0.0.1/chat/deliver.php")));
        Assert.Contains("deliveries.claim", refused.Message, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Numbers_of_the_file_of_values_are_written_out()
    {
        // Without "int", Helm writes a million from a file as 1e+06, but not one from --set.
        using var copy = new TempDirectory();
        var (exitCode, said) = await Tool.RunAsync("cp", "--recursive", "--dereference",
            Tool.InRepository(HelmChart.Directory), copy.File("chart"));
        Assert.True(exitCode == 0, said);
        var values = copy.File("chart/values.yaml");
        await File.WriteAllTextAsync(values, (await File.ReadAllTextAsync(values))
            .Replace("maxConnections: 10000", "maxConnections: 1000000", StringComparison.Ordinal));

        Assert.Contains("max_connections = 1000000\n", await HelmChart.TextOfAsync(copy.File("chart"), "chat"),
            StringComparison.Ordinal);
    }

    [GeneratedRegex(@"\n *app\.kubernetes\.io/instance: [^\n]*|\n *annotations:\n *checksum/config: [^\n]*")]
    private static partial Regex OfHelmAlone();
}
