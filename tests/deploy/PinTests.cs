using System.Diagnostics;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.RegularExpressions;
using k8s.Models;
using StreamingDaemon.Testing;
using YamlDotNet.RepresentationModel;

namespace StreamingDaemon.DeployTests;

/// <summary>Base images by digest: <c>deploy/pin-images.sh</c> against a registry of the test's own.</summary>
public sealed partial class PinTests : IDisposable
{
    private static readonly string s_script = Tool.InRepository("deploy", "pin-images.sh");

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Every_image_that_is_pulled_is_printed_with_the_digest_that_its_tag_has()
    {
        using var registry = new Registry(_directory);

        var (exitCode, printed, error) = await PinAsync();

        Assert.True(exitCode == 0, error);
        var lines = printed.TrimEnd().Split('\n')
            .ToDictionary(line => line.Split('=')[0], line => line.Split('=', 2)[1]);
        Assert.Equal(Pulled().Order(), lines.Values.Select(image => image.Split('@')[0]).Order());
        Assert.All(lines.Values, image =>
            Assert.Equal($"sha256:{Registry.DigestOf(image.Split('@')[0])}", image.Split('@')[1]));
        // Each is a variable that compose takes.
        var compose = await File.ReadAllTextAsync(Tool.InRepository("docker-compose.yml"));
        Assert.All(lines.Where(line => line.Key != "SECCOMP_IMAGE"), line => Assert.Contains(
            $"${{{line.Key}:-{line.Value.Split('@')[0]}}}", compose, StringComparison.Ordinal));
        Assert.Equal(OfTheDaemonSet().Single(), lines["SECCOMP_IMAGE"].Split('@')[0]);

        var file = _directory.File("images.env");
        await File.WriteAllTextAsync(file, printed);
        Assert.Equal((0, ""), await Tool.RunAsync(s_script, "--check", file));
        foreach (var line in lines)
        {
            await File.WriteAllTextAsync(
                file, printed.Replace(line.Value, line.Value.Split('@')[0], StringComparison.Ordinal));
            (exitCode, var said) = await Tool.RunAsync(s_script, "--check", file);
            Assert.Equal(1, exitCode);
            Assert.Contains($"no digest for {line.Key}", said, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Registry_that_does_not_know_an_image_pins_nothing()
    {
        using var registry = new Registry(_directory) { Unknown = "/grafana/" };

        var (exitCode, printed, error) = await PinAsync();

        Assert.Equal(1, exitCode);
        Assert.Contains("grafana/grafana", error, StringComparison.Ordinal);
        Assert.DoesNotContain("grafana", printed, StringComparison.Ordinal);
    }

    /// <summary>Images that the files name; the last stage of the daemon's image begins with none.</summary>
    private static IEnumerable<string> Pulled()
    {
        var dockerfiles = ((string[])["Dockerfile", "apache/Dockerfile"])
            .Select(file => File.ReadAllText(Tool.InRepository(file))).ToList();
        Assert.All(dockerfiles.SelectMany(text => From().Matches(text)),
            from => Assert.Contains(from.Groups[1].Value, (string[])["${BASE}", "scratch"]));
        var compose = Yaml.Read(File.ReadAllText(Tool.InRepository("docker-compose.yml")));
        return dockerfiles.Select(text => Base().Match(text).Groups[1].Value).Concat(OfTheDaemonSet()).Concat(
            ((YamlMappingNode)compose["services"]).Children.Values
                .Cast<YamlMappingNode>().Where(service => service.Children.ContainsKey("image"))
                .Select(service => Default().Match($"{service["image"]}").Groups[1].Value));
    }

    private static IEnumerable<string> OfTheDaemonSet()
    {
        var pod = Manifests.Read(File.ReadAllText(Tool.InRepository("deploy", "kubernetes", "seccomp", "daemonset.yaml")))
            .OfType<V1DaemonSet>().Single().Spec.Template.Spec;
        return pod.InitContainers.Concat(pod.Containers).Select(container => container.Image).Distinct();
    }

    private async Task<(int ExitCode, string Output, string Error)> PinAsync()
    {
        var start = new ProcessStartInfo(s_script) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment["HOME"] = _directory.Path;
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(TimeSpan.FromMinutes(1));
        return (process.ExitCode, await output, await error);
    }

    [GeneratedRegex("^FROM (\\S+)", RegexOptions.Multiline)]
    private static partial Regex From();

    [GeneratedRegex("^ARG BASE=(.*)$", RegexOptions.Multiline)]
    private static partial Regex Base();

    [GeneratedRegex(@"^\$\{[A-Z_]+:-(.*)\}$")]
    private static partial Regex Default();

    /// <summary>In Docker Hub's place: each image's manifest is a text with its name.</summary>
    private sealed class Registry : IDisposable
    {
        private readonly HttpListener _listener = new();

        public Registry(TempDirectory home)
        {
            var port = DaemonProcess.FreePort();
            var directory = Directory.CreateDirectory(home.File(".config/containers")).FullName;
            File.WriteAllText(Path.Combine(directory, "registries.conf"),
                $"[[registry]]\nprefix = \"docker.io\"\nlocation = \"127.0.0.1:{port}\"\ninsecure = true\n");
            _listener.Prefixes.Add($"http://127.0.0.1:{port}/");
            _listener.Start();
            _ = ServeAsync();
        }

        /// <summary>A part of the path of an image that is not there.</summary>
        public string? Unknown { get; init; }

        public void Dispose() => _listener.Close();

        public static string DigestOf(string image)
        {
            var (name, tag) = (image.Split(':')[0], image.Split(':')[1]);
            var path = $"/v2/{(name.Contains('/', StringComparison.Ordinal) ? "" : "library/")}{name}/manifests/{tag}";
            return Convert.ToHexStringLower(SHA256.HashData(Manifest(path)));
        }

        private static byte[] Manifest(string path) => Encoding.UTF8.GetBytes(
            $$$"""
            {"schemaVersion":2,"mediaType":"{{{MediaType}}}","manifests":[],"annotations":{"of":"{{{path}}}"}}
            """);

        private const string MediaType = "application/vnd.oci.image.index.v1+json";

        private async Task ServeAsync()
        {
            while (_listener.IsListening)
            {
                HttpListenerContext context;
                try
                {
                    context = await _listener.GetContextAsync();
                }
                catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
                {
                    return;
                }

                var path = context.Request.Url!.AbsolutePath;
                var isThere = Unknown is not { } part || !path.Contains(part, StringComparison.Ordinal);
                context.Response.StatusCode = isThere ? 200 : 404;
                context.Response.ContentType = MediaType;
                context.Response.Close(Manifest(path), willBlock: true);
            }
        }
    }
}
