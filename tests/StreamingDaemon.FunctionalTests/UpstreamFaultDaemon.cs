using System.Globalization;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A daemon for all tests of a class. Its upstream fails as the handoff's <c>test_pattern</c> says.
/// </summary>
public sealed class UpstreamFaultDaemon : IAsyncLifetime
{
    private int _requests;

    public FakeLlmServer Upstream { get; private set; } = null!;

    public DaemonProcess Daemon { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        Upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        Upstream.Scenario = exchange => FakeLlmFaults.Named(exchange.Request.Headers["X-Test-Pattern"])(exchange);
        var environment = Upstream.OpenAIEnvironment(true);
        // Long, so that on a slow machine a fault is still a status and not an event.
        environment["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000";
        Daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
    }

    public async ValueTask DisposeAsync()
    {
        await Daemon.DisposeAsync();
        await Upstream.DisposeAsync();
    }

    /// <summary>A new request id, to find the stream's upstream requests and log line.</summary>
    public string NewRequestId() =>
        string.Create(CultureInfo.InvariantCulture, $"fault-{Interlocked.Increment(ref _requests)}");

    public static string Handoff(string fault, string requestId) =>
        $$"""{"prompt":"{{FakeLlmFaults.Secret}}","test_pattern":"{{fault}}","request_id":"{{requestId}}"}""";

    public IReadOnlyList<FakeLlmRequest> RequestsOf(string requestId) =>
        [.. Upstream.Requests.Where(request => request.Headers["X-Request-Id"] == requestId)];
}
