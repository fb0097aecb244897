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
    /// <summary>Every file that names an image to pull.</summary>
    private static readonly string[] s_files =
        ["Dockerfile", "apache/Dockerfile", "docker-compose.yml", "deploy/kubernetes/seccomp/daemonset.yaml"];

    private readonly TempDirectory _directory = new();

    public PinTests()
    {
        foreach (var file in s_files.Append("deploy/pin-images.sh"))
        {
            Directory.CreateDirectory(Path.GetDirectoryName(_directory.File(file))!);
            File.Copy(Tool.InRepository(file), _directory.File(file));
        }
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task No_image_lacks_its_digest_and_a_check_finds_one_that_does()
    {
        Assert.Equal((0, ""), await Tool.RunAsync(Tool.InRepository("deploy", "pin-images.sh"), "--check"));
        // The check sees what these tests see.
        var images = Pulled();
        Assert.All(images, image => Assert.Matches("^[^@]+:[^@]+@sha256:[0-9a-f]{64}$", image));

        foreach (var image in images)
        {
            var tag = image.Split('@')[0];
            foreach (var file in s_files.Where(file => Read(file).Contains(image, StringComparison.Ordinal)))
            {
                var was = Read(file);
                await File.WriteAllTextAsync(_directory.File(file), was.Replace(image, tag, StringComparison.Ordinal));
                var (exitCode, said) = await Tool.RunAsync(_directory.File("deploy/pin-images.sh"), "--check");
                await File.WriteAllTextAsync(_directory.File(file), was);
                Assert.True(exitCode == 1, $"{file}: {image}");
                Assert.Contains($"{tag} has no digest", said, StringComparison.Ordinal);
            }
        }
    }

    [Fact]
    public async Task Every_image_that_is_pulled_gets_the_digest_that_its_tag_has()
    {
        var tags = Pulled().Select(image => image.Split('@')[0]).ToList();
        using var registry = new Registry(_directory);

        var (exitCode, printed, error) = await PinAsync();

        Assert.True(exitCode == 0, error);
        Assert.Equal(tags.Select(tag => $"{tag}@sha256:{Registry.DigestOf(tag)}"), Pulled());
        Assert.Equal(Pulled().Order(StringComparer.Ordinal),
            printed.TrimEnd().Split('\n').Order(StringComparer.Ordinal));
        Assert.Equal((0, ""), await Tool.RunAsync(_directory.File("deploy/pin-images.sh"), "--check"));
        // What is today's already is not news.
        Assert.Equal((0, "", ""), await PinAsync());
    }

    [Fact]
    public async Task Registry_that_does_not_know_an_image_changes_nothing()
    {
        using var registry = new Registry(_directory) { Unknown = "/grafana/" };

        var (exitCode, _, error) = await PinAsync();

        Assert.Equal(1, exitCode);
        Assert.Contains("grafana/grafana", error, StringComparison.Ordinal);
        Assert.All(s_files, file => Assert.Equal(File.ReadAllText(Tool.InRepository(file)), Read(file)));
    }

    private string Read(string file) => File.ReadAllText(_directory.File(file));

    /// <summary>Images that the files name; the last stage of the daemon's image begins with none.</summary>
    private List<string> Pulled()
    {
        var dockerfiles = s_files[..2].Select(Read).ToList();
        Assert.All(dockerfiles.SelectMany(text => From().Matches(text)),
            from => Assert.Contains(from.Groups[1].Value, (string[])["${BASE}", "scratch"]));
        var services = ((YamlMappingNode)Yaml.Read(Read("docker-compose.yml"))["services"]).Children.Values
            .Cast<YamlMappingNode>();
        var pod = Manifests.Read(Read("deploy/kubernetes/seccomp/daemonset.yaml"))
            .OfType<V1DaemonSet>().Single().Spec.Template.Spec;
        return [.. dockerfiles.Select(text => Base().Match(text).Groups[1].Value)
            .Concat(services.Select(service => Default().Match(
                $"{(service.Children.TryGetValue("image", out var image) ? image : service["build"]["args"]["BASE"])}")
                .Groups[1].Value))
            .Concat(pod.InitContainers.Concat(pod.Containers).Select(container => container.Image))
            .Distinct().Order(StringComparer.Ordinal)];
    }

    private async Task<(int ExitCode, string Output, string Error)> PinAsync()
    {
        var start = new ProcessStartInfo(_directory.File("deploy/pin-images.sh")) { RedirectStandardOutput = true, RedirectStandardError = true };
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
