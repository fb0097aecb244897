using k8s.Models;

namespace StreamingDaemon.DeployTests;

/// <summary>The pod by the rules of Kubernetes' pod security standard "restricted".</summary>
public sealed class PodSecurityTests
{
    private static readonly string[] s_sysctls =
    [
        "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
    ];

    [Fact]
    public void Pod_passes_the_restricted_policy() =>
        Assert.Empty(Complaints(Manifests.OfBase().OfType<V1Deployment>().Single().Spec.Template.Spec));

    [Fact]
    public void Installer_of_the_profile_breaks_it_by_what_the_page_names_and_nothing_else()
    {
        var installer = Manifests.Read(File.ReadAllText(
            Tool.InRepository("deploy", "kubernetes", "seccomp", "daemonset.yaml"))).OfType<V1DaemonSet>().Single();

        Assert.Equal(["volume seccomp", "install may be root"], Complaints(installer.Spec.Template.Spec));
        Assert.Contains("`hostPath`, and root to write into it",
            File.ReadAllText(Tool.InRepository("docs", "kubernetes.md")), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("hostNetwork: true\n      automount", "host's")]
    [InlineData("runAsNonRoot: false\n      automount", null)]
    public void Breach_would_be_noticed(string change, string? complaint)
    {
        var yaml = File.ReadAllText(Path.Combine(Manifests.BaseDirectory, "deployment.yaml"));
        var pod = Manifests.Read(complaint is null
                ? yaml.Replace("runAsNonRoot: true", "runAsNonRoot: false", StringComparison.Ordinal)
                : yaml.Replace("automount", change, StringComparison.Ordinal))
            .OfType<V1Deployment>().Single().Spec.Template.Spec;

        Assert.Contains(Complaints(pod), c => c.Contains(complaint ?? "may be root", StringComparison.Ordinal));
        foreach (var container in pod.Containers)
            container.SecurityContext = null;
        Assert.True(Complaints(pod).Count(c => c.StartsWith("apache ", StringComparison.Ordinal)) >= 3);
    }

    private static List<string> Complaints(V1PodSpec pod)
    {
        List<string> all = [];
        if (pod.HostNetwork == true || pod.HostPID == true || pod.HostIPC == true)
            all.Add("a namespace is the host's");
        all.AddRange((pod.SecurityContext?.Sysctls ?? []).Select(s => s.Name).Except(s_sysctls).Select(s => $"sysctl {s}"));
        all.AddRange(pod.Volumes.Where(v => v.ConfigMap is null && v.EmptyDir is null && v.Secret is null
            && v.Projected is null && v.PersistentVolumeClaim is null && v.Csi is null && v.Ephemeral is null
            && v.DownwardAPI is null).Select(v => $"volume {v.Name}"));
        foreach (var container in (pod.InitContainers ?? []).Concat(pod.Containers))
            all.AddRange(Complaints(container, pod.SecurityContext).Select(c => $"{container.Name} {c}"));
        return all;
    }

    private static IEnumerable<string> Complaints(V1Container container, V1PodSecurityContext? pod)
    {
        var own = container.SecurityContext;
        if (own?.AllowPrivilegeEscalation != false)
            yield return "may gain rights";
        if (own?.Capabilities?.Drop?.Contains("ALL") != true
            || own.Capabilities.Add?.Any(c => c != "NET_BIND_SERVICE") == true)
        {
            yield return "has capabilities";
        }

        if ((own?.RunAsNonRoot ?? pod?.RunAsNonRoot) != true || (own?.RunAsUser ?? pod?.RunAsUser) == 0)
            yield return "may be root";
        if ((own?.SeccompProfile ?? pod?.SeccompProfile)?.Type is not ("RuntimeDefault" or "Localhost"))
            yield return "has no seccomp profile";
        if (own?.Privileged == true || own?.ProcMount is not null and not "Default"
            || container.Ports?.Any(p => p.HostPort is not null) == true)
        {
            yield return "is privileged, or has a port of the host";
        }
    }
}
