using System.Text.RegularExpressions;
using k8s.Models;

namespace StreamingDaemon.DeployTests;

/// <summary>The chart against the kustomize base: two ways to install one thing.</summary>
public sealed partial class HelmTests
{
    [Fact]
    public void Chart_with_its_defaults_is_the_kustomize_base()
    {
        var chart = HelmChart.Render("streaming-daemon").Select(o => Instance().Replace(Manifests.Text(o), ""));

        Assert.Equal(Manifests.OfBase().Select(Manifests.Text).Order(), chart.Order());
    }

    [Fact]
    public void Values_reach_the_objects_and_the_grace_period_follows_the_drain()
    {
        var objects = HelmChart.Render("chat", ("daemon.shutdownTimeoutSeconds", "300"),
            ("daemon.backend", "openai"), ("podMonitor.enabled", "false"));

        var deployment = objects.OfType<V1Deployment>().Single();
        var configuration = objects.OfType<V1ConfigMap>().Single();
        Assert.Equal(330, deployment.Spec.Template.Spec.TerminationGracePeriodSeconds);
        Assert.Equal("300", Manifests.Toml(configuration.Data["config.toml"], "shutdown_timeout_s"));
        Assert.Equal("openai", Manifests.Toml(configuration.Data["config.toml"], "name"));
        Assert.Equal("chat", deployment.Metadata.Name);
        Assert.Equal("chat", deployment.Spec.Template.Metadata.Labels["app.kubernetes.io/instance"]);
        Assert.Equal(configuration.Metadata.Name,
            deployment.Spec.Template.Spec.Volumes.Single(v => v.Name == "configuration").ConfigMap.Name);
        Assert.Empty(objects.OfType<Manifests.PodMonitor>());
    }

    [GeneratedRegex(@"\n *app\.kubernetes\.io/instance: [^\n]*")]
    private static partial Regex Instance();
}
