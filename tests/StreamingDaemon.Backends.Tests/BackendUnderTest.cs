using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests;

/// <summary>A fake LLM and the backend that talks to it.</summary>
internal sealed class BackendUnderTest : IAsyncDisposable
{
    public const string ApiKey = "sk-secret-0123456789";

    private BackendUnderTest(FakeLlmServer server, OpenAIOptions options)
    {
        Server = server;
        Backend = WithoutBackoff(options);
    }

    public FakeLlmServer Server { get; }

    public OpenAIBackend Backend { get; }

    public RecordingSink Sink { get; set; } = new();

    /// <remarks>The window stays open for every retry, even on a loaded machine.</remarks>
    public static StreamRequest Prompt =>
        new() { RequestId = "req-1", Prompt = "Hello", RetryWindow = TestLimits.Wait };

    /// <summary>A backend that retries at once, or after the Retry-After.</summary>
    public static OpenAIBackend WithoutBackoff(OpenAIOptions options) =>
        new(options, new RetryPolicy(options.MaxRetries, () => 0), new BackendContext());

    /// <param name="transport">How the server listens.</param>
    /// <param name="configure">Changes the options for that transport.</param>
    /// <param name="scenario">Answers; null for the default answer.</param>
    /// <param name="streamsPerConnection">Streams that the server allows on one HTTP/2 connection.</param>
    public static async Task<BackendUnderTest> StartAsync(
        FakeLlmTransport transport = FakeLlmTransport.H2c,
        Func<OpenAIOptions, OpenAIOptions>? configure = null,
        Func<FakeLlmExchange, Task>? scenario = null,
        int streamsPerConnection = 100)
    {
        var server = await FakeLlmServer.StartAsync(transport, streamsPerConnection);
        if (scenario is not null)
            server.Scenario = scenario;
        var options = new OpenAIOptions
        {
            ApiKey = ApiKey,
            ApiBase = server.BaseAddress,
            ApiSocket = server.SocketPath,
            Http2Enabled = transport is not (FakeLlmTransport.Http1 or FakeLlmTransport.UnixHttp1),
            InsecureSsl = true,
        };
        return new BackendUnderTest(server, configure?.Invoke(options) ?? options);
    }

    /// <summary>A server whose answers are a 200 head and this text.</summary>
    public static Task<BackendUnderTest> StartRawAsync(string events, int maxEventBytes = 1 << 20) => StartAsync(
        configure: options => options with { MaxEventBytes = maxEventBytes },
        scenario: async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendRawAsync(events);
        });

    public Task<BackendResult> StreamAsync(CancellationToken cancellationToken = default) =>
        StreamAsync(Prompt, cancellationToken);

    public Task<BackendResult> StreamAsync(
        StreamRequest request, CancellationToken cancellationToken = default) =>
        Backend.StreamAsync(request, Sink, cancellationToken).WithinLimit();

    public async ValueTask DisposeAsync()
    {
        Backend.Dispose();
        await Server.DisposeAsync();
    }
}
