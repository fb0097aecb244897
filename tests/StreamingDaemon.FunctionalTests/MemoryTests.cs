using System.Net.Sockets;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

public sealed class MemoryTests
{
    /// <summary>The smallest value of the option: it fits about 300 of these handoffs.</summary>
    private static readonly string[] s_small = ["--max-memory", "64Mi"];

    private static string Handoff(int promptBytes, string id) => JsonSerializer.Serialize(new
    {
        request_id = id,
        response_headers = new Dictionary<string, string> { ["X-App"] = "chat" },
        prompt = new string('x', promptBytes),
    });

    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.H2c)]
    public async Task Streams_beyond_the_memory_read_a_503_and_the_others_their_whole_answer(
        FakeLlmTransport transport)
    {
        const int streams = 500;
        var begin = new TaskCompletionSource();
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        upstream.ForgetsBodies = true;
        upstream.Scenario = async exchange =>
        {
            await begin.Task;
            await FakeLlmScenarios.RunAsync(exchange);
        };
        await using var daemon = await DaemonProcess.StartAsync(
            upstream.OpenAIEnvironment(transport != FakeLlmTransport.Http1), true,
            ["--backend", "openai", .. s_small]);

        var clients = new List<Socket>();
        for (var i = 0; i < streams; i++)
            clients.Add(TestClient.HandOver(daemon.SocketPath, Handoff(100_000, $"r{i}")));
        var refused = 0.0;
        await Eventually.TrueAsync(async () =>
        {
            refused = (await daemon.MetricValuesAsync())[
                "streaming_daemon_streams_total{backend=\"openai\",outcome=\"OverMemory\"}"];
            return upstream.Requests.Count + refused >= streams;
        });
        begin.SetResult();
        var answers = await Task.WhenAll(clients.Select(async client =>
        {
            using (client)
                return Answer.Parse(await TestClient.ReadToEndAsync(client, TimeSpan.FromSeconds(60)));
        }));

        Assert.InRange(refused, 1, streams - 1);
        Assert.Equal(streams - refused, answers.Count(a => a.IsDone));
        var told = answers.Where(a => !a.IsDone).ToList();
        Assert.All(told, a =>
        {
            Assert.Equal("HTTP/1.1 503 Service Unavailable", a.StatusLine);
            Assert.Contains("\r\nRetry-After: 5\r\n", a.Head, StringComparison.Ordinal);
            Assert.Contains("limit of memory", a.Body, StringComparison.Ordinal);
        });
        // Refusals carry the application's headers and request id, while there is memory to read the handoff.
        Assert.Contains(told, a => a.Head.Contains("\r\nX-App: chat\r\n", StringComparison.Ordinal)
            && a.Body.Contains("\"request_id\":\"r", StringComparison.Ordinal));
        await Eventually.TrueAsync(async () => (await daemon.MetricValuesAsync())[
            "streaming_daemon_memory_held_bytes"] < 16 << 20);
        Assert.True((await daemon.AskAsync("""{"prompt":"again"}""")).IsDone);
    }

    [Fact]
    public async Task Process_that_finds_no_memory_goes_on_or_ends_with_a_sentence_and_exit_code_1()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.ForgetsBodies = true;
        upstream.Scenario = exchange => Task.Delay(Timeout.Infinite, exchange.Context.RequestAborted);
        var environment = upstream.OpenAIEnvironment(false);
        // The heap limit is 48 MiB, but max_memory says 8 GiB: so the budget refuses nothing in time.
        environment["DOTNET_GCHeapHardLimit"] = "3000000";
        await using var daemon = await DaemonProcess.StartAsync(environment, true,
            "--backend", "openai", "--max-memory", "8Gi");

        var clients = new List<Socket>();
        try
        {
            for (var i = 0; i < 1000 && !daemon.HasExited; i++)
                clients.Add(TestClient.HandOver(daemon.SocketPath, Handoff(100_000, $"r{i}")));
        }
        catch (PosixException)
        {
            // The daemon ends between two handoffs: its socket disappears before the process.
            await Eventually.TrueAsync(() => daemon.HasExited);
        }

        // Ten seconds of a collector that does nothing else end it, and one does not begin at once.
        await Eventually.TrueAsync(async () => daemon.HasExited || await IsAliveAsync(daemon),
            TimeSpan.FromSeconds(90));
        if (daemon.HasExited)
        {
            // 134 if it happened on the runtime's socket thread: there the runtime aborts the process.
            var code = await daemon.ExitCodeAsync();
            Assert.True(code is 1 or 134, $"exit code {code}");
            Assert.True(code != 1 || daemon.ErrorText.Contains("streaming-daemon: out of memory, the process ends. "
                + "Raise the memory limit of the container or unit, or lower", StringComparison.Ordinal),
                daemon.ErrorText);
        }

        clients.ForEach(client => client.Dispose());
    }

    private static async Task<bool> IsAliveAsync(DaemonProcess daemon)
    {
        try
        {
            return (await daemon.HealthAsync("/health/live")).Status == 200;
        }
        catch (Exception e) when (e is HttpRequestException or SocketException or JsonException
            or OperationCanceledException)
        {
            // It may have no memory for this answer either.
            return false;
        }
    }
}
