using System.Globalization;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>Several floods at one moment do not end the daemon under the pod's memory limit.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
[Trait("Takes", "Long")]
public sealed class FloodMixTests
{
    private const long Limit = 256 << 20;
    private const int SigTerm = 15;

    private static readonly TimeSpan s_duration = TimeSpan.FromSeconds(12);
    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(20) };

    [Theory]
    [InlineData(FakeLlmTransport.Http1, Posix.SockSeqPacket)]
    [InlineData(FakeLlmTransport.H2c, Posix.SockSeqPacket)]
    [InlineData(FakeLlmTransport.H2c, Posix.SockStream)]
    public Task Floods_of_every_kind_at_once_do_not_end_the_process(FakeLlmTransport transport, int type) =>
        RunAsync(transport, type, new FloodSizes
        {
            Prompts = 2000,
            Sealed = 300,
            Unread = 500,
            Kept = 200,
            Lines = 100,
            Heads = 300,
            // Each that waits for its turn keeps those behind it waiting for 100 ms.
            Silent = 100,
            Crowd = 30,
            Reloads = 100,
        });

    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.H2c)]
    public Task Long_lines_that_do_not_end_get_no_more_memory_than_there_is(FakeLlmTransport transport) =>
        RunAsync(transport, Posix.SockSeqPacket, new FloodSizes { Lines = 600 });

    [Fact]
    public Task Answers_that_wait_in_http2_connections_do_not_end_the_process() =>
        RunAsync(FakeLlmTransport.H2c, Posix.SockSeqPacket, new FloodSizes { Unread = 3000 });

    private static async Task RunAsync(FakeLlmTransport transport, int type, FloodSizes sizes)
    {
        using var directory = new TempDirectory();
        using var cgroup = new MemoryCgroup(Limit);
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        var file = directory.File("c.toml");
        WriteFile(file, 0);
        await using var daemon = await StartAsync(cgroup, upstream, file, type);
        await using var mix = new FloodMix(daemon, upstream, type);
        Assert.EndsWith("data: [DONE]\n\n", await AskAsync(daemon, type), StringComparison.Ordinal);
        _ = await EndedAsync(daemon);
        var before = daemon.OpenSockets();
        using (var live = new LivenessWatch(daemon))
        {
            await mix.RunAsync(sizes, number => WriteFile(file, number), s_duration);
            Assert.Empty(live.Failures);
        }

        Assert.False(daemon.HasExited, daemon.ErrorText);
        Assert.Equal(0, cgroup.KilledProcesses);
        Assert.InRange(cgroup.PeakBytes, 0, Limit - (4 << 20));
        Assert.DoesNotContain("\"OutOfMemoryException\"", daemon.ErrorText, StringComparison.Ordinal);
        Assert.Equal(mix.Answers.Count, mix.Whole + mix.OverMemory);
        Assert.True(mix.Answers.Count == 0 || mix.Whole > 0, "no answer came whole");
        // Each has one outcome, and so has the one before them.
        await Eventually.TrueAsync(async () => await EndedAsync(daemon) == mix.Handoffs + 1);
        upstream.AbortConnections();
        await Eventually.TrueAsync(() => daemon.OpenSockets() - upstream.OpenConnections <= before);
        Assert.EndsWith("data: [DONE]\n\n", await AskAsync(daemon, type), StringComparison.Ordinal);
        daemon.Signal(SigTerm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
    }

    private static async Task<string> AskAsync(DaemonProcess daemon, int type)
    {
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"x"}""", type);
        return await TestClient.ReadTextAsync(client);
    }

    /// <summary>Streams that have ended. Peers that sent no whole handoff are not among them.</summary>
    private static async Task<int> EndedAsync(DaemonProcess daemon) =>
        (await s_http.GetStringAsync(new Uri(daemon.MetricsUri, "/metrics"))).Split('\n')
            .Where(line => line.StartsWith("streaming_daemon_streams_total{", StringComparison.Ordinal)
                && !line.Contains("\"BadHandoff\"", StringComparison.Ordinal))
            .Sum(line => int.Parse(line.Split(' ')[^1], CultureInfo.InvariantCulture));

    /// <summary>Writes a file just below the most that is read, 1 MiB.</summary>
    private static void WriteFile(string path, int number)
    {
        var line = "# " + new string('c', 97) + "\n";
        File.WriteAllText(path + ".new", $"[timeouts]\nwrite_timeout_ms = {30_000 + number}\n"
            + string.Concat(Enumerable.Repeat(line, 10_000)));
        File.Move(path + ".new", path, overwrite: true);
    }

    private static Task<DaemonProcess> StartAsync(MemoryCgroup cgroup, FakeLlmServer upstream, string file, int type)
    {
        _ = NativeDaemon.Binary;
        return DaemonProcess.StartUnderAsync(cgroup.Wrapper, new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "none",
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = upstream.Transport == FakeLlmTransport.H2c ? "true" : "false",
            // A busy machine may take more than a minute until all have been handed over.
            ["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "280000",
        }, true, "--backend", "openai", "--config", file,
            "--socket-type", type == Posix.SockStream ? "stream" : "seqpacket");
    }
}
