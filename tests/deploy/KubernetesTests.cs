using System.Globalization;
using System.Net.Http;
using System.Text.RegularExpressions;
using k8s.Models;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The manifests: of the API's types, consistent, and true of the daemon.</summary>
public sealed class KubernetesTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    private static IReadOnlyList<object> Base { get; } = Manifests.OfBase();

    private static V1PodSpec Pod => Base.OfType<V1Deployment>().Single().Spec.Template.Spec;

    private static V1Container Daemon => Pod.InitContainers.Single(c => c.Name == "streaming-daemon");

    private static V1Container Apache => Pod.Containers.Single();

    private static string Configuration => Base.OfType<V1ConfigMap>().Single().Data["config.toml"];

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Field_that_kubernetes_does_not_know_would_be_noticed()
    {
        var yaml = File.ReadAllText(Path.Combine(Manifests.BaseDirectory, "deployment.yaml"));

        Assert.NotEmpty(Manifests.Read(yaml));
        Assert.ThrowsAny<Exception>(() => Manifests.Read(
            yaml.Replace("runAsNonRoot:", "runAsNoneRoot:", StringComparison.Ordinal)));
    }

    [Fact]
    public void Files_of_the_base_are_all_in_the_kustomization()
    {
        var named = Manifests.OfBaseDirectory.Resources!
            .Concat(Manifests.OfBaseDirectory.ConfigMapGenerator!.SelectMany(made => made.Files!))
            .Append("kustomization.yaml");

        Assert.Equal(Directory.GetFiles(Manifests.BaseDirectory).Select(Path.GetFileName).Order(), named.Order());
    }

    [Fact]
    public void Configuration_is_made_by_kustomize_whose_hash_of_it_makes_new_pods_and_the_pod_refers_to_it()
    {
        var made = Manifests.OfBaseDirectory.ConfigMapGenerator!.Single();

        // Generated once, and not written down a second time.
        Assert.Single(Base.OfType<V1ConfigMap>());
        Assert.Equal(made.Name, Pod.Volumes.Single(v => v.Name == "configuration").ConfigMap.Name);
        Assert.Equal(["config.toml"], made.Files);
    }

    [Fact]
    public void Rule_of_the_operator_is_the_file_of_alerts()
    {
        var alerts = (Manifests.PrometheusRule)Manifests.Read(
            "apiVersion: monitoring.coreos.com/v1\nkind: PrometheusRule\nmetadata:\n  name: streaming-daemon\nspec:\n"
            + string.Concat(File.ReadLines(Expressions.AlertsPath).Select(line => $"  {line}\n"))).Single();

        Assert.Equal(Manifests.Text(alerts), Manifests.Text(Base.OfType<Manifests.PrometheusRule>().Single()));
    }

    [Theory]
    [InlineData("docs/kubernetes.md", "deploy/kubernetes/base/prometheusrule.yaml")]
    [InlineData("docs/operations.md", "deploy/prometheus/alerts.yml")]
    public async Task Address_of_the_runbooks_is_one_word_that_the_pages_command_replaces(string page, string rules)
    {
        var command = Regex.Match(await File.ReadAllTextAsync(Tool.InRepository(page)), "sed (?:-i )?'(s\\|https://runbooks[^']*)'");

        var (exitCode, said) = await Tool.RunAsync("sed", command.Groups[1].Value, Tool.InRepository(rules));

        Assert.True(exitCode == 0, said);
        var addresses = Regex.Matches(said, "runbook_url: (.*)").Select(m => new Uri(m.Groups[1].Value)).ToList();
        Assert.Equal(Expressions.OfAlerts().Names.Count, addresses.Count);
        Assert.All(addresses, address => Assert.Equal(
            "https://wiki.your-site.example/streaming-daemon/runbooks.md", address.GetLeftPart(UriPartial.Path)));
        Assert.DoesNotContain("runbook_url: https://runbooks.example", said, StringComparison.Ordinal);
    }

    [Fact]
    public void Node_that_is_lost_takes_as_few_of_the_pods_as_it_can()
    {
        var spread = Pod.TopologySpreadConstraints.Single();

        Assert.Equal(("kubernetes.io/hostname", 1), (spread.TopologyKey, spread.MaxSkew));
        var labels = Base.OfType<V1Deployment>().Single().Spec.Template.Metadata.Labels;
        Assert.NotEmpty(spread.LabelSelector.MatchLabels);
        Assert.All(spread.LabelSelector.MatchLabels, label => Assert.Equal(label.Value, labels[label.Key]));
    }

    [Fact]
    public void Daemon_is_a_native_sidecar_whose_socket_apache_reaches()
    {
        Assert.Equal("Always", Daemon.RestartPolicy);
        Assert.Equal(Pod.SecurityContext.FsGroup, Daemon.SecurityContext.RunAsGroup);
        var socket = Manifests.Toml(Configuration, "socket");
        foreach (var container in (V1Container[])[Daemon, Apache])
        {
            var mount = container.VolumeMounts.Single(m => m.Name == "handoff");
            Assert.Equal(Path.GetDirectoryName(socket), mount.MountPath);
            Assert.Equal(container == Apache, mount.ReadOnlyProperty ?? false);
        }

        // What Apache's image tells PHP.
        Assert.Contains($"HANDOFF_SOCKET={socket}\n",
            File.ReadAllText(Tool.InRepository("apache", "Dockerfile")), StringComparison.Ordinal);
        Assert.NotNull(Pod.Volumes.Single(v => v.Name == "handoff").EmptyDir);
    }

    [Fact]
    public async Task Socket_on_a_read_only_mount_takes_handoffs()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var (exitCode, said) = await Tool.RunAsync("unshare",
            ["--mount", "sh", "-euc", """
                mount --bind "$1" "$1" && mount -o remount,ro,bind "$1"
                ! touch "$1/another" 2>/dev/null
                socket=$2; shift 2
                exec "$@" send --socket "$socket" --prompt hello
                """, "-", daemon.Directory, daemon.SocketPath, .. DaemonProcess.Command()]);

        Assert.True(exitCode == 0, said);
        Assert.EndsWith("data: [DONE]\n\n", said, StringComparison.Ordinal);
    }

    [Fact]
    public void Key_is_a_file_of_the_daemons_container_alone()
    {
        var file = Manifests.Toml(Configuration.Replace("# api_key_file", "api_key_file", StringComparison.Ordinal),
            "api_key_file");
        var mount = Daemon.VolumeMounts.Single(m => m.Name == "key");

        Assert.Equal($"{mount.MountPath}/openai-api-key", file);
        Assert.True(mount.ReadOnlyProperty);
        Assert.Null(mount.SubPath);
        Assert.DoesNotContain(Apache.VolumeMounts, m => m.Name == "key");
        var secret = Pod.Volumes.Single(v => v.Name == "key").Secret;
        // Octal, and of the group that fsGroup gives to the file: the daemon's.
        Assert.Equal(Convert.ToInt32("440", 8), secret.DefaultMode);
        Assert.Null(Daemon.Env);
    }

    [Fact]
    public void Daemon_runs_as_nobody_in_particular_under_its_profile()
    {
        var security = Daemon.SecurityContext;

        Assert.True(security.RunAsNonRoot);
        Assert.True(security.ReadOnlyRootFilesystem);
        // The profile covers the daemon alone only if the engine has dropped everything before setting it.
        Assert.False(security.AllowPrivilegeEscalation);
        Assert.Equal(["ALL"], security.Capabilities.Drop);
        var installer = Manifests.Read(File.ReadAllText(
            Tool.InRepository("deploy", "kubernetes", "seccomp", "daemonset.yaml"))).OfType<V1DaemonSet>().Single();
        var installed = installer.Spec.Template.Spec.InitContainers.Single();
        Assert.Equal("Localhost", security.SeccompProfile.Type);
        Assert.Contains($"/host/{security.SeccompProfile.LocalhostProfile}\n", installed.Command[^1],
            StringComparison.Ordinal);
        Assert.Equal("/host", installed.VolumeMounts.Single(m => m.Name == "seccomp").MountPath);
    }

    [Fact]
    public void Pod_is_given_the_time_that_a_drain_takes_after_apaches_end()
    {
        const int ApachesPreStop = 5 + 15, Reserve = 10;
        var drain = int.Parse(Manifests.Toml(Configuration, "shutdown_timeout_s"), CultureInfo.InvariantCulture);

        Assert.Equal(drain + ApachesPreStop + Reserve, Pod.TerminationGracePeriodSeconds);
        Assert.Contains("sleep 5; apache2ctl graceful-stop", Apache.Lifecycle.PreStop.Exec.Command[^1],
            StringComparison.Ordinal);
        Assert.Contains("GracefulShutdownTimeout 15",
            File.ReadAllText(Tool.InRepository("apache", "Dockerfile")), StringComparison.Ordinal);
    }

    [Fact]
    public void Memory_of_the_daemons_container_holds_its_connections()
    {
        const long Mi = 1 << 20;
        var limit = Daemon.Resources.Limits["memory"].ToInt64();
        var connections = int.Parse(Manifests.Toml(Configuration, "max_connections"), CultureInfo.InvariantCulture);

        // docs/operations.md: three quarters, less the process; 16 KiB a stream over HTTP/2.
        Assert.InRange(connections, 1, ((limit / 4 * 3) - (24 * Mi)) / (16 << 10));
    }

    [Fact]
    public void Metrics_port_is_open_to_prometheus_alone_and_apache_to_all()
    {
        var policy = Base.OfType<V1NetworkPolicy>().Single().Spec;

        Assert.Equal(Base.OfType<V1Deployment>().Single().Spec.Template.Metadata.Labels, policy.PodSelector.MatchLabels);
        Assert.Equal(["Ingress"], policy.PolicyTypes);
        var (web, metrics) = (policy.Ingress[0], policy.Ingress[1]);
        Assert.Equal(Apache.Ports.Single().Name, web.Ports.Single().Port.Value);
        Assert.Null(web.FromProperty);
        Assert.Equal(Daemon.Ports.Single().Name, metrics.Ports.Single().Port.Value);
        Assert.NotEmpty(metrics.FromProperty.Single().NamespaceSelector.MatchLabels);
    }

    [Fact]
    public async Task Spool_of_the_example_outlives_a_pod_and_is_shared_by_all_of_them()
    {
        var directory = Tool.InRepository("deploy", "kubernetes", "examples", "deliveries");
        var component = (Manifests.Kustomization)Read("kustomization.yaml");
        var claim = (V1PersistentVolumeClaim)Read(component.Resources!.Single());
        var patch = (V1Deployment)Read(component.Patches!.Single().Path!);
        object Read(string file) => Manifests.Read(File.ReadAllText(Path.Combine(directory, file))).Single();

        Assert.Equal(Base.OfType<V1Deployment>().Single().Metadata.Name, patch.Metadata.Name);
        var pod = patch.Spec.Template.Spec;
        var daemon = pod.InitContainers.Single();
        Assert.Equal(Daemon.Name, daemon.Name);
        Assert.Null(pod.Containers);
        Assert.Equal(claim.Metadata.Name, pod.Volumes.Single().PersistentVolumeClaim.ClaimName);
        Assert.DoesNotContain(pod.Volumes.Single().Name, Pod.Volumes.Select(v => v.Name));
        Assert.Equal(pod.Volumes.Single().Name, daemon.VolumeMounts.Single().Name);
        Assert.Equal(["ReadWriteMany"], claim.Spec.AccessModes);
        var reference = await File.ReadAllTextAsync(Tool.InRepository("streaming-daemon.toml"));
        var spool = Regex.Match(reference, "# spool_dir = \"(.*)\"").Groups[1].Value;
        Assert.Equal(Path.GetDirectoryName(spool), daemon.VolumeMounts.Single().MountPath);
    }

    [Fact]
    public void Autoscaler_of_the_example_has_the_metric_that_the_adapter_makes_of_what_is_exported()
    {
        static string Example(string name) =>
            File.ReadAllText(Tool.InRepository("deploy", "kubernetes", "examples", name));
        var scaler = Manifests.Read(Example("horizontalpodautoscaler.yaml"))
            .OfType<V2HorizontalPodAutoscaler>().Single().Spec;
        var rule = Yaml.Read(Example("prometheus-adapter.yaml"))["rules"]["custom"][0];

        Assert.Equal(Base.OfType<V1Deployment>().Single().Metadata.Name, scaler.ScaleTargetRef.Name);
        Assert.Equal($"{rule["name"]["as"]}", scaler.Metrics.Single().Pods.Metric.Name);
        Assert.Equal(
            ["streaming_daemon_connections_active", "streaming_daemon_draining", "streaming_daemon_connections_max"],
            Expressions.Selectors($"{rule["metricsQuery"]}").Select(s => s.Metric));
        // A pod that goes drains: no second one goes meanwhile.
        Assert.True(scaler.Behavior.ScaleDown.Policies.Single().PeriodSeconds > Pod.TerminationGracePeriodSeconds);
    }

    [Fact]
    public async Task Daemon_takes_the_configuration_and_answers_the_probes_and_the_monitor()
    {
        var file = _directory.File("config.toml");
        await File.WriteAllTextAsync(file, Configuration);
        await using var daemon = await DaemonProcess.StartAsync("--config", file);
        using var http = new HttpClient { BaseAddress = daemon.MetricsUri };

        var (exitCode, said, _) = await DaemonProcess.RunAsync(
            "check", "--config", file, "--socket", _directory.File("s"));
        Assert.True(exitCode == 0, said);
        Assert.EndsWith("/config.toml", Daemon.Args[^1], StringComparison.Ordinal);
        Assert.Equal(Path.GetDirectoryName(Daemon.Args[^1]),
            Daemon.VolumeMounts.Single(m => m.Name == "configuration").MountPath);
        var port = Daemon.Ports.Single();
        Assert.Equal(Manifests.Toml(Configuration, "metrics_port"), $"{port.ContainerPort}");
        foreach (var probe in (V1Probe[])[Daemon.StartupProbe, Daemon.LivenessProbe, Daemon.ReadinessProbe])
        {
            Assert.Equal(port.Name, probe.HttpGet.Port.Value);
            Assert.Contains("\"ok\"", await http.GetStringAsync(probe.HttpGet.Path), StringComparison.Ordinal);
        }

        var endpoint = Base.OfType<Manifests.PodMonitor>().Single().Spec!.PodMetricsEndpoints!.Single();
        Assert.Equal(port.Name, endpoint.Port);
        Assert.Contains("streaming_daemon_info", await http.GetStringAsync(endpoint.Path), StringComparison.Ordinal);
    }

    [Fact]
    public void Service_budget_and_monitor_select_the_pods_by_the_job_that_the_alerts_name()
    {
        var labels = Base.OfType<V1Deployment>().Single().Spec.Template.Metadata.Labels;
        var monitor = Base.OfType<Manifests.PodMonitor>().Single().Spec!;

        Assert.Equal(labels, Base.OfType<V1Service>().Single().Spec.Selector);
        Assert.Equal(labels, Base.OfType<V1PodDisruptionBudget>().Single().Spec.Selector.MatchLabels);
        Assert.Equal(labels, monitor.Selector!.MatchLabels);
        Assert.Contains($"job=\"{labels[monitor.JobLabel!]}\"", Expressions.OfAlerts().Text,
            StringComparison.Ordinal);
    }
}
