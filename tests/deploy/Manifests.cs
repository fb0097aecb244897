using System.Text.RegularExpressions;
using k8s;
using k8s.Models;

namespace StreamingDaemon.DeployTests;

/// <summary>Kubernetes' objects, read into the API's own types; a field that a type lacks is an
/// error.</summary>
internal static class Manifests
{
    private static readonly Dictionary<string, Type> s_types = new()
    {
        ["v1/ConfigMap"] = typeof(V1ConfigMap),
        ["v1/Service"] = typeof(V1Service),
        ["apps/v1/Deployment"] = typeof(V1Deployment),
        ["apps/v1/DaemonSet"] = typeof(V1DaemonSet),
        ["policy/v1/PodDisruptionBudget"] = typeof(V1PodDisruptionBudget),
        ["networking.k8s.io/v1/NetworkPolicy"] = typeof(V1NetworkPolicy),
        ["autoscaling/v2/HorizontalPodAutoscaler"] = typeof(V2HorizontalPodAutoscaler),
        // Not part of Kubernetes itself, so no client library has it: the fields that we use, and no others.
        ["monitoring.coreos.com/v1/PodMonitor"] = typeof(PodMonitor),
        ["monitoring.coreos.com/v1/PrometheusRule"] = typeof(PrometheusRule),
        ["v1/PersistentVolumeClaim"] = typeof(V1PersistentVolumeClaim),
        ["kustomize.config.k8s.io/v1beta1/Kustomization"] = typeof(Kustomization),
        ["kustomize.config.k8s.io/v1alpha1/Component"] = typeof(Kustomization),
    };

    public static string BaseDirectory { get; } = Tool.InRepository("deploy", "kubernetes", "base");

    public static Kustomization OfBaseDirectory { get; } = (Kustomization)Read(
        File.ReadAllText(Path.Combine(BaseDirectory, "kustomization.yaml"))).Single();

    /// <summary>What the kustomization lists and generates, in its order. Kustomize appends a hash of the
    /// content to the name of each generated object.</summary>
    public static IReadOnlyList<object> OfBase() =>
    [
        .. OfBaseDirectory.Resources!.SelectMany(name => Read(File.ReadAllText(Path.Combine(BaseDirectory, name)))),
        .. OfBaseDirectory.ConfigMapGenerator!.Select(made => new V1ConfigMap
        {
            ApiVersion = "v1",
            Kind = "ConfigMap",
            Metadata = new V1ObjectMeta { Name = made.Name },
            Data = made.Files!.ToDictionary(f => f, f => File.ReadAllText(Path.Combine(BaseDirectory, f))),
        }),
    ];

    public static IReadOnlyList<object> Read(string yaml) =>
        [.. KubernetesYaml.LoadAllFromString(yaml, s_types, strict: true)];

    /// <summary>A file without a kind, such as Prometheus' rules.</summary>
    public static T ReadAs<T>(string yaml) => KubernetesYaml.Deserialize<T>(yaml, strict: true);

    /// <summary>An object as text, for comparison: unset fields are left out.</summary>
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

    internal sealed class PrometheusRule
    {
        public string? ApiVersion { get; set; }
        public string? Kind { get; set; }
        public V1ObjectMeta? Metadata { get; set; }
        public AlertGroups? Spec { get; set; }
    }

    /// <summary>Also the format of Prometheus' own rule files.</summary>
    internal sealed class AlertGroups
    {
        public List<AlertGroup>? Groups { get; set; }
    }

    internal sealed class AlertGroup
    {
        public string? Name { get; set; }
        public List<Alert>? Rules { get; set; }
    }

    internal sealed class Alert
    {
        [YamlDotNet.Serialization.YamlMember(Alias = "alert", ApplyNamingConventions = false)]
        public string? Name { get; set; }
        public string? Expr { get; set; }
        public string? For { get; set; }
        public Dictionary<string, string>? Labels { get; set; }
        public Dictionary<string, string>? Annotations { get; set; }
    }

    internal sealed class Kustomization
    {
        public string? ApiVersion { get; set; }
        public string? Kind { get; set; }
        public string? Namespace { get; set; }
        public List<string>? Resources { get; set; }
        public List<MadeConfigMap>? ConfigMapGenerator { get; set; }
        public List<NamedImage>? Images { get; set; }
        public List<LabelPairs>? Labels { get; set; }
        public List<PatchFile>? Patches { get; set; }
    }

    internal sealed class PatchFile
    {
        public string? Path { get; set; }
    }

    internal sealed class LabelPairs
    {
        public Dictionary<string, string>? Pairs { get; set; }
    }

    internal sealed class MadeConfigMap
    {
        public string? Name { get; set; }
        public string? Behavior { get; set; }
        public List<string>? Files { get; set; }
    }

    internal sealed class NamedImage
    {
        public string? Name { get; set; }
        public string? NewName { get; set; }
        public string? NewTag { get; set; }
    }
}
