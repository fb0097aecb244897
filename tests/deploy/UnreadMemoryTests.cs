using System.Globalization;
using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>Clients that read nothing of a long answer do not take the memory of the others.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class UnreadMemoryTests
{
    private const long Limit = 256 << 20;

    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(20) };
    private static readonly string s_event = new('y', 8_000);

    [Theory]
    [InlineData("TCP", 4000, false)]
    [InlineData("Unix", 1500, false)]
    [InlineData("Unix, raised", 60, false)]
    [InlineData("Unix, raised", 60, true)]
    [InlineData("TCP, kept", 1000, false)]
    public async Task Clients_that_read_nothing_do_not_end_the_process_and_the_next_one_is_served(
        string kind, int clients, bool underTheProfile)
    {
        using var directory = new TempDirectory();
        using var cgroup = new MemoryCgroup(Limit);
        string[] profile = underTheProfile ? [await SeccompProfile.WrapperAsync(directory, "env")] : [];
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        upstream.ForgetsBodies = true;
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 500; i++)
                await exchange.SendDeltaAsync(s_event);
        };
        await using var daemon = await StartAsync([.. cgroup.Wrapper, .. profile], upstream);
        // The clients' ends, and for "raised" our own of the sockets that the daemon has.
        var (held, ours) = (new List<Socket>(), new List<Socket>());
        try
        {
            for (var i = 0; i < clients; i++)
                held.Add(await Task.Run(() => HandOver(daemon.SocketPath, kind, ours)));
            // Until the daemon holds no more for them than ten looks ago, a tenth of a second apart.
            var heldBytes = new Queue<long>();
            await Eventually.TrueAsync(async () =>
            {
                await Task.Delay(100);
                ours.ForEach(socket => socket.SendBufferSize = 4 << 20);
                heldBytes.Enqueue(await HeldAsync(daemon));
                return heldBytes.Count > 10 && heldBytes.Dequeue() >= heldBytes.Last() && heldBytes.Last() > clients * 8_000;
            }, TimeSpan.FromSeconds(60));
        }
        finally
        {
            held.ForEach(client => client.Dispose());
            ours.ForEach(socket => socket.Dispose());
        }

        upstream.Scenario = FakeLlmScenarios.RunAsync;
        await Eventually.TrueAsync(async () =>
        {
            using var next = TestClient.HandOver(daemon.SocketPath, """{"prompt":"x"}""");
            return (await TestClient.ReadTextAsync(next, TimeSpan.FromSeconds(60))).EndsWith("data: [DONE]\n\n", StringComparison.Ordinal);
        }, TimeSpan.FromSeconds(90));
        Assert.False(daemon.HasExited, daemon.ErrorText);
        Assert.InRange(cgroup.PeakBytes, 0, Limit - (4 << 20));
    }

    /// <summary>Fails if /health/live is not ok.</summary>
    private static async Task<long> HeldAsync(DaemonProcess daemon)
    {
        Assert.False(daemon.HasExited, daemon.ErrorText);
        using var live = await s_http.GetAsync(new Uri(daemon.MetricsUri, "/health/live"));
        Assert.True(live.IsSuccessStatusCode);
        const string Name = "streaming_daemon_memory_held_bytes ";
        var line = (await s_http.GetStringAsync(new Uri(daemon.MetricsUri, "/metrics"))).Split('\n')
            .Single(line => line.StartsWith(Name, StringComparison.Ordinal));
        return long.Parse(line[Name.Length..], CultureInfo.InvariantCulture);
    }

    private static Socket HandOver(string path, string kind, List<Socket> ours)
    {
        if (kind == "TCP")
            return TestClient.HandOverTcp(path, """{"prompt":"x"}""", small: true);
        if (kind == "TCP, kept")
            return TestClient.HandOverTcp(path, """{"prompt":"x","keep":true,"user_id":7}""", small: true);
        if (kind == "Unix")
            return TestClient.HandOver(path, """{"prompt":"x"}""");
        var (left, right) = Posix.SocketPair();
        ours.Add(Posix.ToSocket(right));
        TestClient.HandOverDescriptor(path, """{"prompt":"x"}"""u8, right);
        return Posix.ToSocket(left);
    }

    private static Task<DaemonProcess> StartAsync(IReadOnlyList<string> wrapper, FakeLlmServer upstream)
    {
        _ = NativeDaemon.Binary;
        return DaemonProcess.StartUnderAsync(wrapper, new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "none",
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = "false",
        }, true, "--backend", "openai");
    }
}
