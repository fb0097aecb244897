using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>If an upstream fails: what the client reads, the log says and the metrics count.</summary>
[Trait("Quick", "Yes")]
public sealed class UpstreamFaultTests(UpstreamFaultDaemon setup) : IClassFixture<UpstreamFaultDaemon>
{
    private const string Begun = "data: {\"content\":\"" + FakeLlmFaults.Begun + "\"}\n\n";

    private readonly DaemonProcess _daemon = setup.Daemon;

    [Theory]
    [InlineData("status_400_json", 502, "ClientError", 1)]
    [InlineData("status_401_json", 502, "Unauthorized", 1)]
    [InlineData("status_403_html", 502, "Unauthorized", 1)]
    [InlineData("status_404_empty", 502, "ClientError", 1)]
    [InlineData("status_429_json", 503, "RateLimited", 3)]
    [InlineData("status_500_endless", 502, "ServerError", 3)]
    [InlineData("status_502_html", 502, "ServerError", 3)]
    [InlineData("status_503_empty", 502, "ServerError", 3)]
    [InlineData("status_529_json", 502, "ServerError", 3)]
    [InlineData("redirect", 502, "Redirect", 1)]
    [InlineData("json_instead_of_events", 502, "NotAStream", 1)]
    [InlineData("secret_content_type", 502, "NotAStream", 1)]
    [InlineData("reset_before_head", 502, "Reset", 3)]
    public async Task Fault_before_the_head_is_a_status_that_says_nothing_of_the_upstream(
        string fault, int status, string reason, int attempts)
    {
        var before = await SnapshotAsync();
        var id = setup.NewRequestId();

        var answer = await _daemon.AskAsync(UpstreamFaultDaemon.Handoff(fault, id));

        Assert.StartsWith($"HTTP/1.1 {status} ", answer.StatusLine, StringComparison.Ordinal);
        // None of these upstreams sends one, and nobody else knows when a retry makes sense.
        Assert.DoesNotContain("Retry-After", answer.Head, StringComparison.OrdinalIgnoreCase);
        using var body = JsonDocument.Parse(answer.Body);
        Assert.Equal(id, body.RootElement.GetProperty("error").GetProperty("request_id").GetString());
        Assert.Equal(attempts, setup.RequestsOf(id).Count);
        await AssertEndAsync(before, id, "UpstreamError", reason, attempts - 1, status);
    }

    [Theory]
    [InlineData("reset_inside_event", "BrokenOff")]
    [InlineData("reset_between_events", "BrokenOff")]
    [InlineData("lost_connection", "BrokenOff")]
    [InlineData("malformed_chunk", "Malformed")]
    [InlineData("line_of_64_mb", "TooLong")]
    [InlineData("error_event", "ErrorEvent")]
    public async Task Fault_in_the_stream_is_the_text_so_far_one_error_event_and_no_done(string fault, string reason)
    {
        var before = await SnapshotAsync();
        var id = setup.NewRequestId();

        var body = await StreamAsync(fault, id);

        Assert.StartsWith(Begun + "data: {\"error\":\"", body, StringComparison.Ordinal);
        var code = reason == "ErrorEvent" ? "upstream_failed" : "upstream_broke_off";
        Assert.EndsWith($"\",\"code\":\"{code}\",\"request_id\":\"{id}\"}}\n\n", body, StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", body, StringComparison.Ordinal);
        Assert.Single(setup.RequestsOf(id));
        await AssertEndAsync(before, id, "UpstreamError", reason, 0, 200);
        if (reason == "TooLong")
        {
            Assert.Contains("(streaming.max_event_bytes)", Assert.Single(setup.Daemon.LogLines($"\"{id}\"")),
                StringComparison.Ordinal);
        }
    }

    [Theory]
    [InlineData("truncated")]
    [InlineData("truncated_inside_event")]
    public async Task Clean_end_without_done_is_a_comment_and_neither_an_error_nor_a_done(string fault)
    {
        var before = await SnapshotAsync();
        var id = setup.NewRequestId();

        Assert.Equal(Begun + ": the upstream ended early\n\n", await StreamAsync(fault, id));

        await AssertEndAsync(before, id, "UpstreamTruncated", "Truncated", 0, 200);
    }

    [Theory]
    [InlineData("finish_length")]
    [InlineData("finish_content_filter")]
    [InlineData("finish_without_done")]
    public async Task Answer_that_the_model_ended_is_whole_whatever_its_reason(string fault)
    {
        var before = await SnapshotAsync();
        var id = setup.NewRequestId();

        Assert.Equal(Begun + "data: [DONE]\n\n", await StreamAsync(fault, id));

        await AssertEndAsync(before, id, "Completed", null, 0, 200);
    }

    [Fact]
    public async Task Lost_connection_gives_each_of_its_100_clients_an_error_of_its_own()
    {
        const int Streams = 100;
        var before = await SnapshotAsync();
        var ids = Enumerable.Range(0, Streams).Select(_ => setup.NewRequestId()).ToList();
        var clients = ids.Select(id => TestClient.HandOver(
            _daemon.SocketPath, UpstreamFaultDaemon.Handoff("lost_connection", id))).ToList();
        foreach (var client in clients)
            _ = await TestClient.ReadUntilAsync(client, Begun);
        var requests = ids.Select(id => setup.RequestsOf(id).Single()).ToList();
        foreach (var connection in requests.DistinctBy(request => request.ConnectionId))
            connection.Proceed();

        foreach (var (client, id) in clients.Zip(ids))
        {
            var rest = await TestClient.ReadTextAsync(client);
            Assert.Matches($"^data: \\{{\"error\":\"[^\"]+\",\"code\":\"upstream_broke_off\",\"request_id\":\"{id}\"\\}}\n\n$", rest);
            client.Dispose();
        }

        await Eventually.TrueAsync(() => _daemon.LogLines("\"Outcome\":\"UpstreamError\"")
            .Count(line => ids.Any(id => line.Contains($"\"{id}\"", StringComparison.Ordinal))) == Streams);
        await ChangedAsync(before, Error("BrokenOff"), Streams);
    }

    /// <summary>Hands a client over and returns what follows the head. The fault happens once the client has
    /// read what comes before it.</summary>
    private async Task<string> StreamAsync(string fault, string id)
    {
        using var client = TestClient.HandOver(_daemon.SocketPath, UpstreamFaultDaemon.Handoff(fault, id));
        var begun = await TestClient.ReadUntilAsync(client, Begun);
        setup.RequestsOf(id).Single().Proceed();
        var whole = begun + await TestClient.ReadTextAsync(client);
        Assert.StartsWith(Answer.StreamHead, whole, StringComparison.Ordinal);
        return whole[Answer.StreamHead.Length..];
    }

    private async Task AssertEndAsync(
        Dictionary<string, double> before, string id, string outcome, string? reason, int retries, int status)
    {
        await Eventually.TrueAsync(() => _daemon.LogLines($"\"{id}\"").Count == 1);
        using var line = JsonDocument.Parse(_daemon.LogLines($"\"{id}\"")[0]);
        Assert.Equal(outcome, line.RootElement.GetProperty("Outcome").GetString());
        Assert.Equal(status, line.RootElement.GetProperty("Status").GetInt32());
        Assert.DoesNotContain("secret", _daemon.ErrorText, StringComparison.Ordinal);
        Assert.DoesNotContain("diagnosis", _daemon.ErrorText, StringComparison.Ordinal);

        await ChangedAsync(before, $"streaming_daemon_streams_total{{backend=\"openai\",outcome=\"{outcome}\"}}", 1);
        var after = await SnapshotAsync();
        Assert.Equal(reason is null ? 0 : 1, Sum(after, "upstream_errors") - Sum(before, "upstream_errors"));
        Assert.Equal(retries, Sum(after, "upstream_retries") - Sum(before, "upstream_retries"));
        if (reason is null)
            return;
        Assert.Equal(1, after[Error(reason)] - before[Error(reason)]);
        var retried = $"streaming_daemon_upstream_retries_total{{reason=\"{reason}\"}}";
        Assert.Equal(retries, after[retried] - before[retried]);
        // Every upstream failure was counted with a reason.
        Assert.Equal(after.Where(m => m.Key.Contains("outcome=\"Upstream", StringComparison.Ordinal))
            .Sum(m => m.Value), Sum(after, "upstream_errors"));
    }

    private static string Error(string reason) => $"streaming_daemon_upstream_errors_total{{reason=\"{reason}\"}}";

    private static double Sum(Dictionary<string, double> metrics, string name) => metrics
        .Where(metric => metric.Key.StartsWith($"streaming_daemon_{name}_total{{", StringComparison.Ordinal))
        .Sum(metric => metric.Value);

    private Task<Dictionary<string, double>> SnapshotAsync() => _daemon.MetricValuesAsync();

    // The counters change a moment after the log line.
    private async Task ChangedAsync(Dictionary<string, double> before, string metric, double by)
    {
        var expected = before.GetValueOrDefault(metric) + by;
        var deadline = DateTime.UtcNow + TimeSpan.FromSeconds(20);
        while (true)
        {
            var value = (await SnapshotAsync()).GetValueOrDefault(metric);
            if (value == expected)
                return;
            Assert.True(DateTime.UtcNow < deadline, $"{metric} is {value}, not {expected}");
        }
    }
}
