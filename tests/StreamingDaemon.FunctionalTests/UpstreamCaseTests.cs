using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Daemons for all cases of the corpus: one whose upstream speaks HTTP/1.1, one with HTTP/2.</summary>
public sealed class UpstreamCaseDaemons : IAsyncLifetime
{
    private readonly UpstreamCaseServer _http1 = new();
    private FakeLlmServer _http2 = null!;

    public DaemonProcess Http1 { get; private set; } = null!;

    public DaemonProcess Http2 { get; private set; } = null!;

    public async ValueTask InitializeAsync()
    {
        _http2 = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        _http2.Scenario = UpstreamCaseServer.PlayAsync;
        Http1 = await StartAsync(_http1.BaseAddress, "false");
        Http2 = await StartAsync(_http2.BaseAddress, "true");
    }

    public async ValueTask DisposeAsync()
    {
        await Http1.DisposeAsync();
        await Http2.DisposeAsync();
        await _http1.DisposeAsync();
        await _http2.DisposeAsync();
    }

    private static Task<DaemonProcess> StartAsync(Uri upstream, string http2) => DaemonProcess.StartAsync(
        new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
            ["OPENAI_API_BASE"] = upstream.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = http2,
            ["OPENAI_MAX_RETRIES"] = "0",
            // Long, so that on a slow machine a fault is still a status and not an event.
            ["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000",
        },
        true, "--backend", "openai");
}

/// <summary>The corpus of what upstreams send: what the browser reads, the log says and the metrics count.
/// </summary>
public sealed class UpstreamCaseTests(UpstreamCaseDaemons daemons) : IClassFixture<UpstreamCaseDaemons>
{
    public static TheoryData<string> Http1Cases { get; } =
        [.. UpstreamCase.All.Where(one => one.Wanted is null).Select(one => one.Name)];

    public static TheoryData<string> Http2Cases { get; } =
        [.. UpstreamCase.All.Where(one => one.Wanted is null && one.IsForHttp2).Select(one => one.Name)];

    [Theory]
    [MemberData(nameof(Http1Cases))]
    public async Task Case_over_HTTP_1_gives_the_reader_the_answer_or_the_truth(string name) =>
        await CheckAsync(UpstreamCase.Named(name), daemons.Http1);

    [Theory]
    [MemberData(nameof(Http2Cases))]
    public async Task Case_over_HTTP_2_gives_the_reader_the_answer_or_the_truth(string name) =>
        await CheckAsync(UpstreamCase.Named(name), daemons.Http2);

    private static async Task CheckAsync(UpstreamCase one, DaemonProcess daemon)
    {
        var id = "case-" + one.Name;
        var before = await ErrorsAsync(daemon);

        var answer = await daemon.AskAsync(
            $$"""{"prompt":"hi","test_pattern":"{{one.Name}}","request_id":"{{id}}"}""");

        Assert.StartsWith($"HTTP/1.1 {one.Status} ", answer.StatusLine, StringComparison.Ordinal);
        if (one.RetryAfter is { } seconds)
            Assert.Equal(seconds, RetryAfterOf(answer));
        Assert.Equal(one.Texts, answer.Contents);
        Assert.Equal(one.Outcome == "Completed", answer.IsDone);
        Assert.Equal(one.Status == 200 && one.Outcome is "UpstreamError" or "UpstreamTimeout", answer.Error is not null);
        await Eventually.TrueAsync(() => daemon.LogLines($"\"{id}\"").Count == 1);
        var text = daemon.LogLines($"\"{id}\"")[0];
        using var line = JsonDocument.Parse(text);
        Assert.Equal(one.Outcome, line.RootElement.GetProperty("Outcome").GetString());
        Assert.Equal(one.Finish, line.RootElement.GetProperty("FinishReason").GetString());
        if (one.Log is { } word)
            Assert.Contains(word, line.RootElement.GetProperty("Reason").GetString(), StringComparison.Ordinal);
        Assert.DoesNotContain("sk-secret", daemon.ErrorText, StringComparison.Ordinal);
        await Eventually.TrueAsync(async () =>
        {
            var after = await ErrorsAsync(daemon);
            return after.All(metric => metric.Value - before[metric.Key] == (IsOf(metric.Key, one.Fault) ? 1 : 0));
        });
    }

    private static string RetryAfterOf(Answer answer) => answer.Head.Split("\r\n")
        .Where(line => line.StartsWith("Retry-After: ", StringComparison.OrdinalIgnoreCase))
        .Select(line => line["Retry-After: ".Length..]).SingleOrDefault("none");

    private static bool IsOf(string metric, string? fault) =>
        fault is not null && metric.Contains($"\"{fault}\"", StringComparison.Ordinal);

    private static async Task<Dictionary<string, double>> ErrorsAsync(DaemonProcess daemon) =>
        (await daemon.MetricValuesAsync())
            .Where(metric => metric.Key.StartsWith("streaming_daemon_upstream_errors_total", StringComparison.Ordinal))
            .ToDictionary();
}
