using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;
using YamlDotNet.RepresentationModel;

namespace StreamingDaemon.DeployTests;

/// <summary>docker-compose.yml against the files it names.</summary>
public sealed partial class ComposeTests
{
    private static readonly string s_compose = File.ReadAllText(Tool.InRepository("docker-compose.yml"));

    [Fact]
    public void Every_file_that_compose_names_is_there()
    {
        var named = NamedFile().Matches(s_compose).Select(m => m.Groups[1].Value).Distinct().ToList();

        Assert.Contains("deploy/seccomp/streaming-daemon.json", named);
        Assert.Contains("./deploy/tls/Caddyfile", named);
        Assert.Contains("./deploy/tls", named);
        Assert.Contains("./deploy/grafana/streaming-daemon.json", named);
        Assert.All(named, path => Assert.True(Path.Exists(Tool.InRepository(path)), path));
    }

    [Fact]
    public void Containers_write_and_look_where_the_others_do()
    {
        var provisioned = File.ReadAllText(Tool.InRepository(
            "deploy", "grafana", "provisioning", "dashboards", "streaming-daemon.yml"));
        var dashboards = Regex.Match(provisioned, "path: (.*)").Groups[1].Value;
        Assert.Contains($":{dashboards}/streaming-daemon.json:ro", s_compose, StringComparison.Ordinal);

        var image = File.ReadAllText(Tool.InRepository("deploy", "container", "config.toml"));
        var directory = Path.GetDirectoryName(Manifests.Toml(image, "socket"));
        Assert.Equal(1, Regex.Count(s_compose, $"- handoff:{directory}\n"));
        Assert.Contains($"handoff:{directory}:ro", Words(Service("apache")["volumes"]));
        Assert.Contains($":{Manifests.Toml(image, "metrics_port")}\"\n", s_compose, StringComparison.Ordinal);
        Assert.Contains($"daemon:{Manifests.Toml(image, "metrics_port")}",
            File.ReadAllText(Tool.InRepository("deploy", "prometheus", "prometheus.yml")), StringComparison.Ordinal);
    }

    [Fact]
    public void Answers_that_wait_to_be_delivered_outlive_the_container()
    {
        var reference = File.ReadAllText(Tool.InRepository("streaming-daemon.toml"));
        var spool = Path.GetDirectoryName(Regex.Match(reference, "# spool_dir = \"(.*)\"").Groups[1].Value);

        Assert.Contains($"state:{spool}", Words(Service("daemon")["volumes"]));
        // Plain text of answers: Apache's container has no part in it.
        Assert.DoesNotContain(Words(Service("apache")["volumes"]),
            volume => volume.StartsWith("state:", StringComparison.Ordinal));
        Assert.Contains($"chown 10001:33 \"$root{spool}\"\n",
            File.ReadAllText(Tool.InRepository("deploy", "container", "make-root.sh")), StringComparison.Ordinal);
    }

    [Fact]
    public void Stop_waits_for_the_drain()
    {
        var reference = File.ReadAllText(Tool.InRepository("streaming-daemon.toml"));
        var drain = Regex.Match(reference, "# shutdown_timeout_s = ([0-9]+)").Groups[1].Value;
        var grace = Regex.Match(s_compose, "stop_grace_period: ([0-9]+)s").Groups[1].Value;

        Assert.True(int.Parse(grace, CultureInfo.InvariantCulture) > int.Parse(drain, CultureInfo.InvariantCulture));
    }

    [Fact]
    public void Daemon_may_use_the_ring_and_nothing_else_and_has_what_its_connections_want()
    {
        var daemon = Service("daemon");

        Assert.Equal(["seccomp=deploy/seccomp/streaming-daemon.json", "no-new-privileges:true"],
            Words(daemon["security_opt"]));
        Assert.Equal(["ALL"], Words(daemon["cap_drop"]));
        Assert.Equal("true", $"{daemon["read_only"]}");
        Assert.Equal(UnitFile.Service["LimitNOFILE"], $"{daemon["ulimits"]["nofile"]}");
        var locked = int.Parse($"{daemon["ulimits"]["memlock"]}", CultureInfo.InvariantCulture);
        Assert.Equal(UnitFile.Service["LimitMEMLOCK"], $"{locked >> 20}M");
        Assert.Equal(["CMD", "/usr/bin/streaming-daemon", "health"], Words(daemon["healthcheck"]["test"]));
    }

    [Fact]
    public void Apache_waits_for_a_healthy_daemon_and_nobody_gains_rights()
    {
        var services = (YamlMappingNode)Yaml.Read(s_compose)["services"];

        Assert.Equal("service_healthy", $"{Service("apache")["depends_on"]["daemon"]["condition"]}");
        Assert.Equal("http://127.0.0.1/chat/", Words(Service("apache")["healthcheck"]["test"])[^1]);
        Assert.Equal("service_healthy", $"{Service("tls")["depends_on"]["daemon"]["condition"]}");
        Assert.Equal("service_healthy", $"{Service("tls-proxy")["depends_on"]["apache"]["condition"]}");
        Assert.All(services.Children.Values,
            service => Assert.Contains("no-new-privileges:true", Words(service["security_opt"])));
        // Each is published to this machine alone.
        Assert.All(services.Children.Values.SelectMany(s => Words(s["ports"])),
            port => Assert.StartsWith("127.0.0.1:", port, StringComparison.Ordinal));
    }

    [Fact]
    public void Every_container_has_limits_a_health_and_the_time_that_its_end_takes()
    {
        var services = ((YamlMappingNode)Yaml.Read(s_compose)["services"]).Children;

        Assert.All(services, service =>
        {
            var of = ((YamlMappingNode)service.Value).Children.ToDictionary(s => $"{s.Key}", s => s.Value);
            Assert.True(of.ContainsKey("mem_limit") && of.ContainsKey("healthcheck")
                && of.ContainsKey("stop_grace_period"), $"{service.Key}");
            Assert.Equal("50m", $"{of["logging"]["options"]["max-size"]}");
            // Whoever waits for another waits until that one is well.
            if (of.TryGetValue("depends_on", out var others))
            {
                Assert.All(((YamlMappingNode)others).Children.Values,
                    other => Assert.Equal("service_healthy", $"{other["condition"]}"));
            }
        });
        var grace = int.Parse($"{Service("apache")["stop_grace_period"]}".TrimEnd('s'), CultureInfo.InvariantCulture);
        Assert.True(grace > int.Parse(Regex.Match(File.ReadAllText(Tool.InRepository("apache", "Dockerfile")),
            "GracefulShutdownTimeout ([0-9]+)").Groups[1].Value, CultureInfo.InvariantCulture));
        // Streams that the daemon has taken over still use the network of Apache's container: serve.sh waits for them.
        Assert.All((string[])["apache", "tls"], name =>
        {
            Assert.Equal("/serve.sh", Words(Service(name)["command"])[^1]);
            Assert.Equal($"{Service("daemon")["stop_grace_period"]}", $"{Service(name)["stop_grace_period"]}");
        });
    }

    [Fact]
    public void Apache_is_nobody_in_particular_on_a_read_only_root()
    {
        var apache = Service("apache");

        Assert.Equal("33:33", $"{apache["user"]}");
        Assert.Equal(["ALL"], Words(apache["cap_drop"]));
        Assert.Equal("true", $"{apache["read_only"]}");
        Assert.Equal(["/var/run/apache2", "/var/lock/apache2", "/tmp"], Words(apache["tmpfs"]));
    }

    [Fact]
    public void What_is_not_asked_for_is_in_a_profile()
    {
        var services = (YamlMappingNode)Yaml.Read(s_compose)["services"];
        var profiles = services.Children.ToDictionary(s => $"{s.Key}",
            s => s.Value is YamlMappingNode service && service.Children.TryGetValue("profiles", out var named)
                ? Words(named).Single() : "");

        Assert.Equal(new Dictionary<string, string>
        {
            ["daemon"] = "",
            ["apache"] = "",
            ["tls"] = "tls",
            ["tls-proxy"] = "tls-proxy",
            ["prometheus"] = "observability",
            ["grafana"] = "observability",
        }, profiles);
    }

    [Theory]
    [InlineData("", "backend mock")]
    [InlineData("OPENAI_API_KEY=sk-of-the-test", "backend openai")]
    [InlineData("OPENAI_API_BASE=http://host.docker.internal:11434/v1", "backend openai")]
    public async Task Openai_takes_one_variable(string variable, string backend)
    {
        // A shell fills in the variables by the same rules as Compose.
        var environment = ((YamlMappingNode)Service("daemon")["environment"]).Children
            .Select(v => $"export {v.Key}=\"{v.Value}\"");
        Assert.Contains("OPENAI_HTTP2_ENABLED", string.Concat(environment), StringComparison.Ordinal);
        var (exitCode, said, error) = await DaemonProcess.RunUnderAsync(
            ["env", "-u", "OPENAI_API_KEY", "-u", "OPENAI_API_BASE", .. variable.Length > 0 ? [variable] : (string[])[],
                "bash", "-euc", $"set -- \"$@\" {Service("daemon")["command"]}\n{string.Join('\n', environment)}\nexec \"$@\"", "-"],
            "check", "--socket", "s", "--metrics", "0");

        Assert.True(exitCode == 0, said + error);
        Assert.Contains(backend, said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Key_in_a_file_is_a_secret_and_in_no_environment()
    {
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("openai-api-key"), "sk-of-the-test\n");
        var added = Yaml.Read(await File.ReadAllTextAsync(
            Tool.InRepository("deploy", "compose", "key-file.yml")));
        var daemon = added["services"]["daemon"];
        var environment = ((YamlMappingNode)daemon["environment"]).Children
            .ToDictionary(v => $"{v.Key}", v => $"{v.Value}");
        var secret = Words(daemon["secrets"]).Single();

        // Compose mounts a secret at this path.
        Assert.Equal($"/run/secrets/{secret}", environment["OPENAI_API_KEY_FILE"]);
        Assert.Equal("", environment["OPENAI_API_KEY"]);
        Assert.Equal($"${{OPENAI_API_KEY_FILE:-{secret}}}", $"{added["secrets"][secret]["file"]}");
        environment["OPENAI_API_KEY_FILE"] = directory.File(secret);
        var (exitCode, said, error) = await DaemonProcess.RunAsync(environment, "check", "--socket", "s", "--metrics", "0");
        Assert.True(exitCode == 0, said + error);
        Assert.Contains("backend openai", said, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Terminator_of_tls_takes_its_configuration()
    {
        var (exitCode, said) = await Tool.RunAsync(Tool.Caddy, "validate", "--adapter", "caddyfile", "--config",
            Tool.InRepository("deploy", "tls", "Caddyfile"));

        Assert.True(exitCode == 0, said);
    }

    private static YamlNode Service(string name) => Yaml.Read(s_compose)["services"][name];

    private static string[] Words(YamlNode list) => [.. ((YamlSequenceNode)list).Select(word => $"{word}")];

    [GeneratedRegex(@"(?:- seccomp=|build: |- (?=\./))([\w./-]+)")]
    private static partial Regex NamedFile();
}
