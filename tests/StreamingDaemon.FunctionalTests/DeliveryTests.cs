using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Finished answers arrive at the site, signed, whatever their end was.</summary>
public sealed class DeliveryTests : IDisposable
{
    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;

    public DeliveryTests() => _site = new DeliverySite(_receiver.Url);

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
    }

    [Fact]
    public async Task Whole_answer_arrives_with_the_object_of_its_handoff_untouched()
    {
        const string Object = """{"conversation":12345678901234567890,"a":[ 1.0 ]}""";
        await using var daemon = await _site.StartAsync("--delay", "0");

        var answer = await daemon.AskAsync(
            $$"""{"prompt":"hi","user_id":7,"request_id":"r-1","delivery":{{Object}}}""");

        Assert.True(answer.IsDone);
        var body = Assert.Single(await _receiver.BodiesAsync(1));
        Assert.Equal(string.Concat(answer.Contents), body.GetProperty("content").GetString());
        Assert.Equal(("r-1", 7, "mock", "Completed", "stop", Object), (
            body.GetProperty("request_id").GetString(), body.GetProperty("user_id").GetInt32(),
            body.GetProperty("backend").GetString(), body.GetProperty("outcome").GetString(),
            body.GetProperty("finish_reason").GetString(), body.GetProperty("delivery").GetRawText()));
        var timings = body.GetProperty("timings");
        Assert.Equal(answer.Contents.Count, timings.GetProperty("events").GetInt32());
        Assert.True(timings.GetProperty("ended_at").GetDateTimeOffset()
            >= timings.GetProperty("accepted_at").GetDateTimeOffset());
        Assert.Equal(18, body.GetProperty("usage").GetProperty("completion_tokens").GetInt32());
        await Eventually.TrueAsync(() => _site.Pending.Count == 0);
        var metrics = await daemon.MetricValuesAsync();
        Assert.Equal((1, 1, 0, 1), (
            metrics["streaming_daemon_deliveries_total{result=\"accepted\"}"],
            metrics["streaming_daemon_deliveries_total{result=\"delivered\"}"],
            metrics["streaming_daemon_deliveries_pending"], metrics["streaming_daemon_deliveries_sender"]));
    }

    [Fact]
    public async Task Answer_is_on_the_disk_for_its_user_only_when_its_reader_has_the_end()
    {
        _receiver.Down();
        await using var daemon = await _site.StartAsync("--delay", "0");

        Assert.True((await daemon.AskAsync("""{"prompt":"hi","request_id":"r-2"}""")).IsDone);

        var file = Assert.Single(_site.Pending);
        Assert.Equal("r-2", JsonDocument.Parse(await File.ReadAllTextAsync(file)).RootElement
            .GetProperty("request_id").GetString());
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(file));
        foreach (var directory in (string[])[_site.Spool, _site.Spool + "/pending", _site.Spool + "/dead"])
        {
            Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute,
                File.GetUnixFileMode(directory));
        }

        _receiver.Up();
        await _receiver.AcceptedAsync(1);
    }

    [Fact]
    public async Task Reasoning_and_usage_are_delivered_and_the_client_is_not_shown_them()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => StreamAsync(exchange,
            """{"choices":[{"delta":{"reasoning_content":"let me see"}}]}""",
            """{"choices":[{"delta":{"content":"Hello"}}]}""",
            """{"choices":[{"delta":{},"finish_reason":"stop"}]}""",
            """{"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":5}}""");
        await using var daemon = await _site.StartAsync(upstream);

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.Equal("data: {\"content\":\"Hello\"}\n\ndata: [DONE]\n\n", answer.Body);
        var body = Assert.Single(await _receiver.BodiesAsync(1));
        Assert.Equal(("Hello", "let me see", "stop", 5), (body.GetProperty("content").GetString(),
            body.GetProperty("reasoning").GetString(), body.GetProperty("finish_reason").GetString(),
            body.GetProperty("usage").GetProperty("completion_tokens").GetInt32()));
    }

    [Fact]
    public async Task Answer_of_reasoning_alone_is_as_empty_for_the_client_as_without_delivery()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => StreamAsync(exchange,
            """{"choices":[{"delta":{"reasoning_content":"let me see"}}]}""",
            """{"choices":[{"delta":{},"finish_reason":"stop"}]}""");
        await using var daemon = await _site.StartAsync(upstream);

        var answer = await daemon.AskAsync("""{"prompt":"hi"}""");

        Assert.StartsWith("HTTP/1.1 502", answer.StatusLine, StringComparison.Ordinal);
        var body = Assert.Single(await _receiver.BodiesAsync(1));
        Assert.Equal(("UpstreamError", "", "let me see"), (body.GetProperty("outcome").GetString(),
            body.GetProperty("content").GetString(), body.GetProperty("reasoning").GetString()));
    }

    [Fact]
    public async Task Tool_calls_in_chunks_are_delivered_as_a_message_has_them()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => StreamAsync(exchange,
            """{"choices":[{"index":0,"delta":{"role":"assistant","content":"I look."}}]}""",
            """{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":"}}]}}]}""",
            """{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\"Bonn\"}"}}]}}]}""",
            """{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}""");
        await using var daemon = await _site.StartAsync(upstream);

        var answer = await daemon.AskAsync("""{"prompt":"hi","format":"openai"}""");

        Assert.True(answer.IsDone);
        var body = Assert.Single(await _receiver.BodiesAsync(1));
        Assert.Equal(("I look.", "tool_calls",
            """[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\":\"Bonn\"}"}}]"""),
            (body.GetProperty("content").GetString(), body.GetProperty("finish_reason").GetString(),
            body.GetProperty("tool_calls").GetRawText()));
    }

    [Fact]
    public async Task Answer_whose_client_left_is_delivered_as_far_as_it_came()
    {
        await using var daemon = await _site.StartAsync("--delay", "20");

        using (var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","request_id":"left"}"""))
            await TestClient.ReadUntilAsync(client, "\n\ndata: ");

        var body = Assert.Single(await _receiver.BodiesAsync(1));
        Assert.Equal(("left", "ClientGone"),
            (body.GetProperty("request_id").GetString(), body.GetProperty("outcome").GetString()));
        Assert.NotEqual("", body.GetProperty("content").GetString());
    }

    [Fact]
    public async Task Upstream_that_fails_is_delivered_too_and_a_refused_handoff_is_not()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => exchange.RespondAsync(400, "application/json", "{}");
        await using var daemon = await _site.StartAsync(upstream);

        await daemon.AskAsync("""{"user_id":1,"request_id":"no prompt"}""");
        await daemon.AskAsync("""{"prompt":"hi","request_id":"fails"}""");

        var body = Assert.Single(await _receiver.BodiesAsync(1));
        Assert.Equal(("fails", "UpstreamError"),
            (body.GetProperty("request_id").GetString(), body.GetProperty("outcome").GetString()));
    }

    [Fact]
    public async Task Object_for_the_delivery_that_is_none_is_named_in_the_log()
    {
        await using var daemon = await _site.StartAsync("--delay", "0");

        await daemon.AskAsync("""{"prompt":"hi","delivery":"text"}""");

        Assert.False(Assert.Single(await _receiver.BodiesAsync(1)).TryGetProperty("delivery", out _));
        Assert.Contains("delivery", Assert.Single(daemon.LogLines("ignored unusable handoff fields")),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Long_answer_is_cut_at_the_limit_and_says_so()
    {
        await using var daemon = await _site.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__MAX_BYTES"] = "1024" }, "--delay", "0");
        var prompt = new string('p', 2_000);

        var answer = await daemon.AskAsync($$"""{"prompt":"{{prompt}}","messages":[]}""");

        Assert.True(answer.IsDone);
        var body = Assert.Single(await _receiver.BodiesAsync(1));
        var all = string.Concat(answer.Contents);
        Assert.Equal(all.Length > 1024, body.TryGetProperty("truncated", out _));
        Assert.StartsWith(body.GetProperty("content").GetString()!, all, StringComparison.Ordinal);
    }

    [Fact]
    public async Task New_secret_of_the_file_is_used_after_sighup_and_never_printed()
    {
        const int SigHup = 1;
        const string New = "whsec_bmV3IHNlY3JldCBvZiB0aGUgdGVzdA==";
        await using var daemon = await _site.StartAsync("--delay", "0");

        await File.WriteAllTextAsync(_site.SecretFile, New + "\n");
        _receiver.Key = New;
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\":\"delivery.secret\"").Count == 1);
        await daemon.AskAsync("""{"prompt":"hi"}""");

        await _receiver.AcceptedAsync(1);
        Assert.DoesNotContain(New[6..], daemon.ErrorText, StringComparison.Ordinal);
        Assert.DoesNotContain(DeliveryReceiver.Secret[6..], daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Kept_answer_is_delivered_once_for_all_its_readers_and_a_plain_one_not()
    {
        await using var daemon = await _site.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__WHICH"] = "kept" }, "--delay", "20");
        const string Kept = """{"prompt":"hi","user_id":7,"request_id":"kept-answer","keep":true}""";

        var plain = daemon.AskAsync("""{"prompt":"hi","user_id":7,"request_id":"plain"}""");
        var readers = new[] { daemon.AskAsync(Kept), daemon.AskAsync(Kept) };
        using (var leaves = TestClient.HandOver(daemon.SocketPath, Kept.Replace("kept-answer", "left", StringComparison.Ordinal)))
            await TestClient.ReadUntilAsync(leaves, "data: ");
        var texts = (await Task.WhenAll(readers)).Select(TextOf).ToList();
        await plain;

        // The answer whose reader left goes on to its end.
        var bodies = (await _receiver.BodiesAsync(2)).ToDictionary(body => body.GetProperty("request_id").GetString()!);
        Assert.Equal(["kept-answer", "left"], bodies.Keys.Order(StringComparer.Ordinal));
        Assert.All(texts, text => Assert.Equal(bodies["kept-answer"].GetProperty("content").GetString(), text));
        Assert.All(bodies.Values, body => Assert.Equal("Completed", body.GetProperty("outcome").GetString()));
        Assert.Equal(2, (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_total{result=\"accepted\"}"]);
    }

    /// <summary>The text of an answer whose events have ids.</summary>
    private static string TextOf(Answer answer) => string.Concat(answer.Raw.Split('\n')
        .Where(line => line.StartsWith("data: {", StringComparison.Ordinal))
        .Select(line => JsonDocument.Parse(line[6..]).RootElement.GetProperty("content").GetString()));

    private static async Task StreamAsync(FakeLlmExchange exchange, params string[] chunks)
    {
        await exchange.StartAsync();
        foreach (var chunk in chunks)
            await exchange.SendRawAsync($"data: {chunk}\n\n");
        await exchange.SendDoneAsync();
    }
}
