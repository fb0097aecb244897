using System.Diagnostics;
using System.Globalization;
using System.Net.Http;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The Native AOT binary under its container's profile.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class SeccompTests(ITestOutputHelper output) : IDisposable
{
    /// <summary>ENOSYS: the profile's answer.</summary>
    private const int NoSys = 38;

    private static readonly string[] s_ring = ["io_uring_setup", "io_uring_enter", "io_uring_register"];

    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Mock_stream_metrics_and_a_drain_work_under_the_profile()
    {
        var wrapper = await SeccompProfile.WrapperAsync(_directory, NativeDaemon.Binary);
        await using var daemon = await NativeDaemon.StartAsync(wrapper, null, "--delay", "20");
        Assert.Contains("Seccomp:\t2", await File.ReadAllTextAsync($"/proc/{daemon.Pid}/status"),
            StringComparison.Ordinal);
        using var http = new HttpClient { BaseAddress = daemon.MetricsUri };

        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        _ = await TestClient.ReadUntilAsync(client, "data:");
        Assert.Contains("streaming_daemon_connections_active 1", await http.GetStringAsync("/metrics"),
            StringComparison.Ordinal);
        Assert.Contains("ok", await http.GetStringAsync("/health/ready"), StringComparison.Ordinal);
        daemon.Signal(15);

        Assert.EndsWith("data: [DONE]\n\n", Text(await TestClient.ReadToEndAsync(client)), StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    [Theory]
    [InlineData(FakeLlmTransport.Http2Tls, "HTTP/2")]
    [InlineData(FakeLlmTransport.Http1Tls, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.UnixH2c, "HTTP/2")]
    public async Task Openai_stream_works_under_the_profile_by_the_upstreams_name(
        FakeLlmTransport transport, string protocol)
    {
        var wrapper = await SeccompProfile.WrapperAsync(_directory, NativeDaemon.Binary);
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            // The C library resolves it, and opens its own sockets for that.
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString()
                .Replace("127.0.0.1", "localhost", StringComparison.Ordinal),
            ["OPENAI_INSECURE_SSL"] = "true",
            ["OPENAI_API_SOCKET"] = upstream.SocketPath ?? "",
        };
        await using var daemon = await NativeDaemon.StartAsync(wrapper, environment, "--backend", "openai");

        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");

        Assert.Equal(636, (await TestClient.ReadToEndAsync(client)).Length);
        Assert.Equal(protocol, (await upstream.NextRequestAsync(TestClient.Patience)).Protocol);
    }

    [Fact]
    public async Task Check_finds_nothing_missing_under_the_profile()
    {
        var (exitCode, said) = await CheckAsync();

        Assert.Equal(0, exitCode);
        Assert.Matches("ok +seccomp +a filter is on", said);
        Assert.Matches("ok +io_uring ", said);
    }

    [Fact]
    public async Task Without_the_ring_s_three_calls_check_says_what_is_wrong()
    {
        var (exitCode, said) = await CheckAsync(s_ring);

        Assert.Equal(1, exitCode);
        Assert.Matches("failed +io_uring +io_uring_setup: ENOSYS. A seccomp profile blocks io_uring", said);
    }

    [Fact]
    public async Task Functional_tests_pass_under_the_profile()
    {
        var wrapper = await SeccompProfile.WrapperAsync(_directory, NativeDaemon.Binary);
        // Not the demonstration: it makes its own directory, and nobody runs it in a container. Nor anything
        // run as another user, which may not enter the directory of this test's profile. Nor tests that
        // measure gaps. Their trait says so, and test.sh runs them by themselves.
        var start = new ProcessStartInfo(Tool.InRepository("tests", "run.sh"),
            ["--jobs", "3", Tool.BesideTheseTests("StreamingDaemon.FunctionalTests"), "-trait-", "Seccomp=No"])
        { RedirectStandardOutput = true };
        start.Environment["DAEMON_UNDER_TEST"] = wrapper;
        start.Environment.Remove("MOST_RETRIES");

        using var tests = Process.Start(start)!;
        var said = await tests.StandardOutput.ReadToEndAsync().WaitAsync(TimeSpan.FromMinutes(35));
        await tests.WaitForExitAsync();

        output.WriteLine(said);
        foreach (var line in said.Split('\n').Where(l => l.StartsWith("== ", StringComparison.Ordinal)))
            Console.WriteLine(line);
        Assert.Equal(0, tests.ExitCode);
        Assert.Matches(@"Total: [1-9]\d+, Errors: 0, Failed: 0, Skipped: 0", said);
    }

    [Fact]
    public async Task Trace_finds_no_call_that_the_profile_lacks_and_would_find_one()
    {
        // A drain and its streams; all of the tests take minutes.
        string[] some = ["-class", "*.LifecycleTests"];

        var (exitCode, said) = await TraceAsync(SeccompProfile.Path, some);

        Assert.True(exitCode == 0, said);
        Assert.Contains("not in the profile: none\n", said, StringComparison.Ordinal);
        Assert.Matches("in the profile, and not called: \\S", said);
        Assert.DoesNotMatch("not called: .*\\bio_uring_enter\\b", said);
        // The control: the same with a profile that lacks one call.
        var lacking = _directory.File("lacking.json");
        var profile = await File.ReadAllTextAsync(SeccompProfile.Path);
        await File.WriteAllTextAsync(lacking, profile.Replace("\"io_uring_enter\",", "", StringComparison.Ordinal));
        (exitCode, said) = await TraceAsync(lacking, some);
        Assert.Equal(1, exitCode);
        Assert.Contains("not in the profile: io_uring_enter \n", said, StringComparison.Ordinal);
    }

    /// <summary>Docker 20.10 answers EPERM to what no rule names, and the C library then starts no thread.</summary>
    [Fact]
    public void Clone3_does_not_exist_for_engines_that_ignore_the_default_error_too()
    {
        var rule = Assert.Single(SeccompProfile.Read().GetProperty("syscalls").EnumerateArray(),
            entry => entry.GetProperty("names").EnumerateArray().Any(name => name.GetString() == "clone3"));

        Assert.Equal("SCMP_ACT_ERRNO", rule.GetProperty("action").GetString());
        Assert.Equal(NoSys, rule.GetProperty("errnoRet").GetInt32());
    }

    [Fact]
    public async Task What_the_daemon_does_not_do_is_refused()
    {
        var program = await Tool.CompileAsync(_directory, "forbidden");
        var wrapper = await SeccompProfile.WrapperAsync(_directory, program);

        var free = ErrorsOf(await Tool.RunAsync(program));
        var bound = ErrorsOf(await Tool.RunAsync(wrapper));

        Assert.Equal(17, bound.Count);
        Assert.All(bound, attempt => Assert.Equal((attempt.Key, NoSys), (attempt.Key, attempt.Value)));
        // The control: the profile refuses, not this kernel.
        Assert.All(free, attempt => Assert.NotEqual((attempt.Key, NoSys), (attempt.Key, attempt.Value)));
    }

    [Fact]
    public async Task Service_unit_allows_every_call_that_the_profile_does()
    {
        var allowed = new HashSet<string>();
        foreach (var line in UnitFile.Service.All("SystemCallFilter"))
        {
            var calls = new HashSet<string>();
            foreach (var word in line.TrimStart('~').Split(' '))
                await ExpandAsync(word, calls);
            if (line.StartsWith('~'))
                allowed.ExceptWith(calls);
            else
                allowed.UnionWith(calls);
        }

        // Of @chown, for server.socket_group: under systemd the socket unit sets the group.
        var missing = SeccompProfile.Names(SeccompProfile.Read()).Except(allowed).Order();
        Assert.Equal(["fchownat", "lchown"], missing);
    }

    private static Task<(int ExitCode, string Output)> TraceAsync(string profile, string[] tests) =>
        Tool.RunAsync("env",
        [
            $"PROFILE={profile}", Tool.InRepository("deploy", "seccomp", "trace.sh"), NativeDaemon.Binary, .. tests,
        ]);

    private async Task<(int ExitCode, string Output)> CheckAsync(params string[] without)
    {
        var wrapper = await SeccompProfile.WrapperAsync(_directory, NativeDaemon.Binary, without);
        return await Tool.RunAsync(wrapper, "check", "--socket", _directory.File("s"));
    }

    private static async Task ExpandAsync(string word, HashSet<string> calls)
    {
        if (word[0] != '@')
        {
            calls.Add(word);
            return;
        }

        var (exitCode, said) = await Tool.RunAsync(Tool.SystemdAnalyze, "syscall-filter", word);
        Assert.Equal(0, exitCode);
        foreach (var line in said.Split('\n').Where(l => l.StartsWith("    ", StringComparison.Ordinal)))
        {
            if (!line.TrimStart().StartsWith('#'))
                await ExpandAsync(line.Trim(), calls);
        }
    }

    private static Dictionary<string, int> ErrorsOf((int ExitCode, string Output) run) =>
        run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(line => line.Split(' '))
            .ToDictionary(words => words[0], words => int.Parse(words[1], CultureInfo.InvariantCulture));

    private static string Text(byte[] bytes) => Encoding.UTF8.GetString(bytes);
}
