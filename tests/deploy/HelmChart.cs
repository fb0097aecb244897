using System.Text.RegularExpressions;

namespace StreamingDaemon.DeployTests;

/// <summary>The chart, rendered by Helm's own engine and functions: <c>helm.go</c>.</summary>
internal static partial class HelmChart
{
    public const string Directory = "deploy/helm/streaming-daemon";

    private static readonly Lazy<Task<string>> s_renderer = new(BuildAsync);

    /// <summary>All templates rendered, with some values set as by <c>--set</c>; a list as JSON.</summary>
    public static async Task<IReadOnlyList<object>> RenderAsync(
        string release, params (string Path, string Value)[] set) =>
        Manifests.Read(await TextAsync(release, set));

    /// <summary>The text of all objects.</summary>
    public static Task<string> TextAsync(string release, params (string Path, string Value)[] set) =>
        TextOfAsync(Tool.InRepository(Directory), release, set);

    /// <summary>The same for another chart, which may be a copy of ours.</summary>
    public static async Task<string> TextOfAsync(
        string chart, string release, params (string Path, string Value)[] set)
    {
        var (exitCode, said) = await Tool.RunAsync(await s_renderer.Value,
            [chart, release, .. set.Select(s => $"{s.Path}={s.Value}")]);
        Assert.True(exitCode == 0, said);
        // An omitted file leaves no document behind.
        return string.Concat(Documents().Split(said).Where(d => d.Trim().Length > 0).Select(d => $"---\n{d}"));
    }

    /// <summary>Each value that a template uses.</summary>
    public static IReadOnlySet<string> ValuesUsed() => UsedValue().Matches(string.Concat(System.IO.Directory
        .GetFiles(Tool.InRepository(Directory, "templates")).Select(File.ReadAllText)))
        .Select(m => m.Groups[1].Value).ToHashSet();

    /// <summary>Once per run, next to these tests.</summary>
    private static async Task<string> BuildAsync()
    {
        var program = Path.Combine(AppContext.BaseDirectory, "helm");
        // Debian's packages of Go libraries are there; nothing is downloaded.
        var (exitCode, said) = await Tool.RunAsync("env", "GO111MODULE=off", "GOPATH=/usr/share/gocode",
            $"GOCACHE={program}-cache", Tool.Go, "build", "-o", program,
            Path.Combine(AppContext.BaseDirectory, "helm.go"));
        Assert.True(exitCode == 0, $"{said}\nThese tests need: apt-get install {Tool.GoPackages}");
        return program;
    }

    [GeneratedRegex("^---\n", RegexOptions.Multiline)]
    private static partial Regex Documents();

    [GeneratedRegex(@"\.Values\.([\w.]+)")]
    private static partial Regex UsedValue();
}
