using System.Globalization;
using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>docker-compose.yml against the files that it names.</summary>
public sealed partial class ComposeTests
{
    private static readonly string Compose = File.ReadAllText(Tool.InRepository("docker-compose.yml"));

    [Fact]
    public void Every_file_that_compose_names_is_there()
    {
        var named = NamedFile().Matches(Compose).Select(m => m.Groups[1].Value).Distinct().ToList();

        Assert.Contains("deploy/seccomp/streaming-daemon.json", named);
        Assert.Contains("./deploy/tls/Caddyfile", named);
        Assert.Contains("./deploy/grafana/streaming-daemon.json", named);
        Assert.All(named, path => Assert.True(Path.Exists(Tool.InRepository(path)), path));
    }

    [Fact]
    public void Containers_write_and_look_where_the_others_do()
    {
        var provisioned = File.ReadAllText(Tool.InRepository(
            "deploy", "grafana", "provisioning", "dashboards", "streaming-daemon.yml"));
        var dashboards = Regex.Match(provisioned, "path: (.*)").Groups[1].Value;
        Assert.Contains($":{dashboards}/streaming-daemon.json:ro", Compose, StringComparison.Ordinal);

        var image = File.ReadAllText(Tool.InRepository("deploy", "container", "config.toml"));
        var directory = Path.GetDirectoryName(Manifests.Toml(image, "socket"));
        Assert.Equal(2, Regex.Count(Compose, $"- handoff:{directory}\n"));
        Assert.Contains($":{Manifests.Toml(image, "metrics_port")}\"\n", Compose, StringComparison.Ordinal);
        Assert.Contains($"daemon:{Manifests.Toml(image, "metrics_port")}",
            File.ReadAllText(Tool.InRepository("deploy", "prometheus", "prometheus.yml")), StringComparison.Ordinal);
    }

    [Fact]
    public void Stop_waits_for_the_drain()
    {
        var reference = File.ReadAllText(Tool.InRepository("streaming-daemon.toml"));
        var drain = Regex.Match(reference, "# shutdown_timeout_s = ([0-9]+)").Groups[1].Value;
        var grace = Regex.Match(Compose, "stop_grace_period: ([0-9]+)s").Groups[1].Value;

        Assert.True(int.Parse(grace, CultureInfo.InvariantCulture) > int.Parse(drain, CultureInfo.InvariantCulture));
    }

    [Fact]
    public async Task Terminator_of_tls_takes_its_configuration()
    {
        var (exitCode, said) = await Tool.RunAsync(Tool.Caddy, "validate", "--adapter", "caddyfile", "--config",
            Tool.InRepository("deploy", "tls", "Caddyfile"));

        Assert.True(exitCode == 0, said);
    }

    [GeneratedRegex(@"(?:- seccomp=|build: |- (?=\./))([\w./-]+)")]
    private static partial Regex NamedFile();
}
