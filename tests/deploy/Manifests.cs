using System.Text.RegularExpressions;
using k8s;
using k8s.Models;

namespace StreamingDaemon.DeployTests;

/// <summary>Kubernetes' objects, read into the API's own types; a field that a type has not is an
/// error.</summary>
internal static class Manifests
{
    private static readonly Dictionary<string, Type> Types = new()
    {
        ["v1/ConfigMap"] = typeof(V1ConfigMap),
        ["v1/Service"] = typeof(V1Service),
        ["apps/v1/Deployment"] = typeof(V1Deployment),
        ["apps/v1/DaemonSet"] = typeof(V1DaemonSet),
        ["policy/v1/PodDisruptionBudget"] = typeof(V1PodDisruptionBudget),
        // No part of Kubernetes itself, and so of no client library: the fields that we use, and no others.
        ["monitoring.coreos.com/v1/PodMonitor"] = typeof(PodMonitor),
        ["kustomize.config.k8s.io/v1beta1/Kustomization"] = typeof(Kustomization),
    };

    public static string BaseDirectory { get; } = Tool.InRepository("deploy", "kubernetes", "base");

    /// <summary>What the kustomization names, in its order.</summary>
    public static IReadOnlyList<object> OfBase()
    {
        var kustomization = (Kustomization)Read(
            File.ReadAllText(Path.Combine(BaseDirectory, "kustomization.yaml"))).Single();
        return [.. kustomization.Resources!.SelectMany(
            name => Read(File.ReadAllText(Path.Combine(BaseDirectory, name))))];
    }

    public static IReadOnlyList<object> Read(string yaml) =>
        [.. KubernetesYaml.LoadAllFromString(yaml, Types, strict: true)];

    /// <summary>An object as text, to compare: what is not said is left out.</summary>
    public static string Text(object manifest) => KubernetesYaml.Serialize(manifest);

    /// <summary>A value of a TOML file, by its key alone.</summary>
    public static string Toml(string text, string key) =>
        Regex.Match(text, $"^{key} = \"?([^\"\n]*)\"?$", RegexOptions.Multiline).Groups[1].Value;

    internal sealed class PodMonitor
    {
        public string? ApiVersion { get; set; }
        public string? Kind { get; set; }
        public V1ObjectMeta? Metadata { get; set; }
        public PodMonitorSpec? Spec { get; set; }
    }

    internal sealed class PodMonitorSpec
    {
        public string? JobLabel { get; set; }
        public V1LabelSelector? Selector { get; set; }
        public List<PodMetricsEndpoint>? PodMetricsEndpoints { get; set; }
    }

    internal sealed class PodMetricsEndpoint
    {
        public string? Port { get; set; }
        public string? Path { get; set; }
        public string? Interval { get; set; }
    }

    internal sealed class Kustomization
    {
        public string? ApiVersion { get; set; }
        public string? Kind { get; set; }
        public List<string>? Resources { get; set; }
        public List<LabelPairs>? Labels { get; set; }
    }

    internal sealed class LabelPairs
    {
        public Dictionary<string, string>? Pairs { get; set; }
    }
}
