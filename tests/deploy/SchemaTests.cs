using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The files of deploy/ by the rules of the programs that read them:
/// <c>schemas/judge.mjs</c>.</summary>
public sealed class SchemaTests : IDisposable
{
    private static readonly Lazy<Task<string>> s_judge = new(InstallAsync);

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Compose_file_is_of_composes_schema()
    {
        var file = Tool.InRepository("docker-compose.yml");

        Assert.Empty(await ComplaintsAsync("compose", file));
        Assert.Empty(await ComplaintsAsync("compose", Tool.InRepository("deploy", "compose", "key-file.yml")));
        var wrong = await ChangedAsync(file, ("ulimits:", "ulimit:"), ("cap_drop: [ALL]", "cap_drop: ALL"));
        var complaints = await ComplaintsAsync("compose", wrong);
        Assert.Contains("\"additionalProperty\":\"ulimit\"", complaints, StringComparison.Ordinal);
        Assert.Contains("cap_drop must be array", complaints, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Manifests_have_what_the_api_requires_and_words_that_it_knows()
    {
        var files = Manifests.OfBaseDirectory.Resources!.Select(f => Path.Combine(Manifests.BaseDirectory, f))
            .Append(Tool.InRepository("deploy", "kubernetes", "seccomp", "daemonset.yaml"))
            .Append(Tool.InRepository("deploy", "kubernetes", "examples", "deliveries", "claim.yaml"))
            .Append(Tool.InRepository("deploy", "kubernetes", "examples", "horizontalpodautoscaler.yaml")).ToArray();
        var rendered = _directory.File("chart.yaml");
        await File.WriteAllTextAsync(rendered, await HelmChart.TextAsync("chat"));

        Assert.Empty(await ComplaintsAsync("kubernetes", [.. files, rendered]));
        var deployment = files.Single(f => f.EndsWith("/deployment.yaml", StringComparison.Ordinal));
        foreach (var (right, wrong, complaint) in ((string, string, string)[])
            [
                ("- name: apache\n          image:", "- image:", "must have required property name"),
                ("type: Localhost", "type: Local", "must be equal to one of the allowed values"),
                ("periodSeconds: 10", "periodSeconds: ten", "must be integer"),
            ])
        {
            var changed = await ChangedAsync(deployment, (right, wrong));
            Assert.Contains(complaint, await ComplaintsAsync("kubernetes", changed), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Linter_finds_nothing_in_the_dockerfiles()
    {
        var file = Tool.InRepository("Dockerfile");

        Assert.Empty(await ComplaintsAsync("dockerfile", file, Tool.InRepository("apache", "Dockerfile")));
        var wrong = await ChangedAsync(file, ("USER ", "USERS "), ("--interval=", "--intervals="));
        var complaints = await ComplaintsAsync("dockerfile", wrong);
        Assert.Contains("Unknown instruction: USERS", complaints, StringComparison.Ordinal);
        Assert.Contains("Unknown flag: intervals", complaints, StringComparison.Ordinal);
    }

    private async Task<string> ChangedAsync(string file, params (string Right, string Wrong)[] changes)
    {
        var text = await File.ReadAllTextAsync(file);
        foreach (var (right, wrong) in changes)
        {
            Assert.Contains(right, text, StringComparison.Ordinal);
            text = text.Replace(right, wrong, StringComparison.Ordinal);
        }

        var changed = _directory.File("changed");
        await File.WriteAllTextAsync(changed, text);
        return changed;
    }

    private static async Task<string> ComplaintsAsync(string kind, params string[] files)
    {
        var (exitCode, said) = await Tool.RunAsync(Tool.Node, [await s_judge.Value, kind, .. files]);
        Assert.True(exitCode == 0, said);
        return said;
    }

    /// <summary>Next to these tests, once per build of them: no package runs anything when it is
    /// installed.</summary>
    private static async Task<string> InstallAsync()
    {
        var directory = Path.Combine(AppContext.BaseDirectory, "schemas");
        var (exitCode, said) = await Tool.RunAsync(Tool.Npm, "install", "--prefix", directory, "--ignore-scripts",
            "--no-package-lock", "--no-audit", "--no-fund", "--prefer-offline");
        Assert.True(exitCode == 0, said);
        return Path.Combine(directory, "judge.mjs");
    }
}
