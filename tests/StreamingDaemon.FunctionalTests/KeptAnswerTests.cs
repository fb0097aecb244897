using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Answers that outlive their reader: keep, resume, join and stop.</summary>
[Trait("Quick", "Yes")]
public sealed class KeptAnswerTests
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);

    [Theory]
    [InlineData("text")]
    [InlineData("openai")]
    public async Task Kept_answer_has_its_id_in_the_head_and_numbered_events(string format)
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        var plain = Events(await daemon.AskAsync($$"""{"format":"{{format}}"}"""));

        var kept = await daemon.AskAsync($$"""{"keep":true,"request_id":"a-1","format":"{{format}}"}""");

        Assert.Equal(Answer.StreamHead[..^2] + "X-Answer-Id: a-1\r\n\r\n", kept.Head);
        Assert.Equal(plain.Count, kept.Events.Count);
        for (var i = 0; i < plain.Count; i++)
            Assert.StartsWith($"id: {i + 1}\ndata: ", kept.Events[i], StringComparison.Ordinal);
        if (format == "text")
            Assert.Equal(plain.Select((data, i) => $"id: {i + 1}\n{data}"), kept.Events);
        var line = (await daemon.AccessLogAsync(2)).Single(l => l.GetProperty("RequestId").GetString() == "a-1");
        Assert.Equal("kept", line.GetProperty("Answer").GetString());
        Assert.Equal("Completed", line.GetProperty("Outcome").GetString());
    }

    [Fact]
    public async Task Answer_without_a_request_id_gets_one_that_nobody_can_guess()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var first = IdOf(await daemon.AskAsync("""{"keep":true}"""));
        var second = IdOf(await daemon.AskAsync("""{"keep":true}"""));

        Assert.NotEqual(first, second);
        Assert.All([first, second], id => Assert.Matches("^sd-[0-9a-f]{32}$", id));
    }

    [Fact]
    public async Task Finished_answer_is_read_again_from_every_event_on()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        var kept = await daemon.AskAsync("""{"keep":true,"request_id":"a","user_id":7}""");

        for (var last = 0; last < kept.Events.Count; last++)
        {
            var rest = await daemon.AskAsync($$"""{"resume":"a","last_event_id":"{{last}}","user_id":7}""");
            Assert.Equal(kept.Events.Skip(last), rest.Events);
            Assert.Equal(kept.Head, rest.Head);
        }

        // An EventSource reconnects unless it reads a 204.
        var nothing = await daemon.AskAsync("""{"resume":"a","last_event_id":19,"user_id":7}""");
        Assert.Equal("HTTP/1.1 204 No Content", nothing.StatusLine);
    }

    [Fact]
    public async Task Reader_that_left_reads_on_without_a_gap_or_a_repeat_while_the_answer_runs()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await exchange.SendDeltaAsync("two");
            await goOn.Task.WaitAsync(s_limit);
            await exchange.SendDeltaAsync("three");
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        var first = TestClient.HandOver(daemon.SocketPath,
            """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""");
        await TestClient.ReadUntilAsync(first, "two\"}\n\n");
        var request = await upstream.NextRequestAsync(s_limit);
        first.Dispose();
        Assert.Equal("ClientGone", await daemon.OutcomeAsync());

        using var second = TestClient.HandOver(daemon.SocketPath,
            """{"resume":"a","last_event_id":1,"user_id":7}""");
        var soFar = await TestClient.ReadUntilAsync(second, "two\"}\n\n");
        goOn.SetResult();
        var rest = soFar + await TestClient.ReadTextAsync(second);

        Assert.False(request.Aborted.IsCompleted);
        Assert.EndsWith("""

            id: 2
            data: {"content":"two"}

            id: 3
            data: {"content":"three"}

            id: 4
            data: [DONE]


            """.ReplaceLineEndings("\n"), rest, StringComparison.Ordinal);
        Assert.DoesNotContain("id: 1\n", rest, StringComparison.Ordinal);
        var lines = await daemon.AccessLogAsync(2);
        Assert.Contains(lines, l => l.GetProperty("Answer").GetString() == "resumed"
            && l.GetProperty("Outcome").GetString() == "Completed");
        Assert.Contains("""streaming_daemon_answers_total{event="orphaned"} 1""", await daemon.MetricsAsync(),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reader_that_is_ahead_of_a_running_answer_gets_no_event_twice()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await goOn.Task.WaitAsync(s_limit);
            await exchange.SendDeltaAsync("two");
            await exchange.SendDeltaAsync("three");
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        using var first = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","keep":true,"request_id":"a"}""");
        await TestClient.ReadUntilAsync(first, "one\"}\n\n");

        using var ahead = TestClient.HandOver(daemon.SocketPath, """{"resume":"a","last_event_id":2}""");
        await TestClient.ReadUntilAsync(ahead, "\r\n\r\n");
        goOn.SetResult();

        Assert.Equal("id: 3\ndata: {\"content\":\"three\"}\n\nid: 4\ndata: [DONE]\n\n",
            await TestClient.ReadTextAsync(ahead));
    }

    [Theory]
    [InlineData("""{"resume":"never","user_id":7}""")]
    [InlineData("""{"resume":"a","user_id":8}""")]
    [InlineData("""{"resume":"a"}""")]
    [InlineData("""{"stop":"a","user_id":8}""")]
    [InlineData("""{"stop":"never","user_id":7}""")]
    public async Task Unknown_answer_and_another_users_answer_are_the_same_404(string handoff)
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        Assert.Equal(19, (await daemon.AskAsync("""{"keep":true,"request_id":"a","user_id":7}""")).Events.Count);

        var answer = await daemon.AskAsync(handoff[..^1] + ""","request_id":"r"}""");

        Assert.Equal("HTTP/1.1 404 Not Found", answer.StatusLine);
        Assert.Equal("""{"error":{"code":"answer_not_found","message":"There is no such answer, or it is no """
            + "longer kept.\",\"request_id\":\"r\"}}\n", answer.Body);
        Assert.Contains((await daemon.AccessLogAsync(2)).Select(l => l.GetProperty("Outcome").GetString()),
            outcome => outcome == "AnswerNotFound");
    }

    [Fact]
    public async Task Second_handoff_of_the_same_id_joins_the_answer_and_the_model_is_asked_once()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        var calls = 0;
        upstream.Scenario = async exchange =>
        {
            Interlocked.Increment(ref calls);
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await goOn.Task.WaitAsync(s_limit);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";
        using var first = TestClient.HandOver(daemon.SocketPath, Handoff);
        var one = await TestClient.ReadUntilAsync(first, "one\"}\n\n");
        using var second = TestClient.HandOver(daemon.SocketPath, Handoff);
        var two = await TestClient.ReadUntilAsync(second, "one\"}\n\n");
        goOn.SetResult();

        one += await TestClient.ReadTextAsync(first);
        two += await TestClient.ReadTextAsync(second);
        var late = await daemon.AskAsync(Handoff);

        Assert.Equal(one, two);
        Assert.Equal(one, late.Raw);
        Assert.Equal(1, calls);
        Assert.Equal(["joined", "joined", "kept"], (await daemon.AccessLogAsync(3)).Select(l => l.GetProperty("Answer").GetString())
            .Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("""{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""", """{"content":"one"}""", "")]
    [InlineData("""{"prompt":"hi","keep":true,"request_id":"a","user_id":7,"events":["finish"]}""",
        """{"content":"one"}""", "id: 2\ndata: {\"finish_reason\":\"stop\"}\n\n")]
    public async Task Stopped_answer_ends_for_all_its_readers_and_the_call_is_cancelled(
        string handoff, string event1, string finish)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await exchange.WaitForAbortAsync(s_limit);
        };
        await using var daemon = await upstream.StartDaemonAsync();
        using var first = TestClient.HandOver(daemon.SocketPath, handoff);
        var one = await TestClient.ReadUntilAsync(first, "one\"}\n\n");
        using var second = TestClient.HandOver(daemon.SocketPath, """{"resume":"a","user_id":7}""");
        var two = await TestClient.ReadUntilAsync(second, "one\"}\n\n");
        var request = await upstream.NextRequestAsync(s_limit);

        var asked = await daemon.AskAsync("""{"stop":"a","user_id":7}""");

        Assert.Equal("HTTP/1.1 200 OK", asked.StatusLine);
        Assert.Equal("{\"stopped\":true,\"request_id\":\"a\"}\n", asked.Body);
        var done = finish.Length > 0 ? 3 : 2;
        foreach (var read in new[] { one + await TestClient.ReadTextAsync(first), two + await TestClient.ReadTextAsync(second) })
        {
            Assert.EndsWith($"\r\n\r\nid: 1\ndata: {event1}\n\n{finish}id: {done}\ndata: [DONE]\n\n", read,
                StringComparison.Ordinal);
        }

        await request.Aborted.WaitAsync(s_limit);
        // Another tab, or the same request again: it was stopped.
        Assert.Equal("{\"stopped\":true,\"request_id\":\"a\"}\n",
            (await daemon.AskAsync("""{"stop":"a","user_id":7}""")).Body);
        var outcomes = (await daemon.AccessLogAsync(4)).Select(l => l.GetProperty("Outcome").GetString());
        Assert.Equal(2, outcomes.Count(outcome => outcome == "Stopped"));
    }

    [Fact]
    public async Task Stop_beside_a_prompt_is_the_parameter_of_the_api()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        Assert.True((await daemon.AskAsync("""{"prompt":"hi","stop":"\n"}""")).IsDone);

        Assert.Contains("\"stop\":\"\\n\"", (await upstream.NextRequestAsync(s_limit)).Body, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answer_that_nobody_reads_ends_after_orphan_s_and_says_so_to_who_comes_back()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await exchange.WaitForAbortAsync(s_limit);
        };
        await using var daemon = await StartAsync(upstream, "orphan_s = 1");
        var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","keep":true,"request_id":"a"}""");
        await TestClient.ReadUntilAsync(client, "one\"}\n\n");
        var request = await upstream.NextRequestAsync(s_limit);

        client.Dispose();

        await request.Aborted.WaitAsync(s_limit);
        await Eventually.TrueAsync(() => daemon.LogLines("AnswerEnded").Count == 1);
        Assert.Contains("\"Outcome\":\"Orphaned\"", daemon.LogLines("AnswerEnded")[0], StringComparison.Ordinal);
        var back = await daemon.AskAsync("""{"resume":"a"}""");
        Assert.Equal("id: 1\ndata: {\"content\":\"one\"}", back.Events[0]);
        Assert.Contains("\"code\":\"answer_orphaned\"", back.Events[1], StringComparison.Ordinal);
    }

    [Fact]
    public async Task Answer_that_is_too_long_streams_on_whole_and_can_no_longer_be_resumed()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        var word = new string('x', 1000);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 2000; i++)
                await exchange.SendDeltaAsync(word);
            await goOn.Task.WaitAsync(s_limit);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await StartAsync(upstream, "max_answer_bytes = \"64Ki\"");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","keep":true,"request_id":"a"}""");

        await Eventually.TrueAsync(() => daemon.LogLines("AnswerNoLongerKept").Count == 1);
        var refused = await daemon.AskAsync("""{"resume":"a"}""");
        goOn.SetResult();
        var answer = Answer.Parse(await TestClient.ReadToEndAsync(client));

        Assert.Equal("HTTP/1.1 404 Not Found", refused.StatusLine);
        Assert.Equal(
            [.. Enumerable.Range(1, 2000).Select(i => $"id: {i}\ndata: {{\"content\":\"{word}\"}}"), "id: 2001\ndata: [DONE]"],
            answer.Events);
        var metrics = await daemon.MetricValuesAsync();
        // Only its name is held.
        Assert.InRange(metrics["streaming_daemon_answers_bytes"], 1, 1024);
        Assert.Equal(1, metrics["""streaming_daemon_answers_total{event="too_long"}"""]);
    }

    [Fact]
    public async Task Oldest_finished_answer_goes_first_if_there_is_no_room()
    {
        await using var daemon = await StartAsync(null, "keep = true\nmax_bytes = \"64Ki\"", "--delay", "0");
        for (var i = 0; i < 200; i++)
            Assert.Equal(19, (await daemon.AskAsync($$"""{"request_id":"a{{i}}"}""")).Events.Count);

        Assert.StartsWith("HTTP/1.1 404", (await daemon.AskAsync("""{"resume":"a0"}""")).StatusLine, StringComparison.Ordinal);
        Assert.Equal(19, (await daemon.AskAsync("""{"resume":"a199"}""")).Events.Count);
        var metrics = await daemon.MetricValuesAsync();
        Assert.InRange(metrics["streaming_daemon_answers_bytes"], 1, 64 * 1024);
        Assert.InRange(metrics["""streaming_daemon_answers_total{event="evicted"}"""], 1, 200);
    }

    [Fact]
    public async Task New_answer_is_streamed_without_being_kept_if_running_ones_take_all_the_room()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 60; i++)
                await exchange.SendDeltaAsync(new string('x', 1000));
            await goOn.Task.WaitAsync(s_limit);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await StartAsync(upstream, "keep = true\nmax_bytes = \"64Ki\"");
        using var first = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","request_id":"a"}""");
        using var second = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","request_id":"b"}""");
        await Eventually.TrueAsync(async () =>
        {
            var metrics = await daemon.MetricValuesAsync();
            return metrics["""streaming_daemon_answers_total{event="full"}"""]
                + metrics["""streaming_daemon_answers_total{event="too_long"}"""] >= 1;
        });
        using var third = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","request_id":"c"}""");
        goOn.SetResult();

        foreach (var client in new[] { first, second, third })
            Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        Assert.InRange((await daemon.MetricValuesAsync())["streaming_daemon_answers_bytes"], 0, 3 * 64 * 1024);
    }

    [Fact]
    public async Task Answer_without_a_reader_goes_on_to_its_end_with_orphan_s_0()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 6; i++)
            {
                await exchange.SendDeltaAsync("word");
                await Task.Delay(500, exchange.Context.RequestAborted);
            }

            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await StartAsync(upstream, "orphan_s = 0");
        using (var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","keep":true,"request_id":"a"}"""))
            await TestClient.ReadUntilAsync(client, "word");

        await Eventually.TrueAsync(() => daemon.LogLines("AnswerEnded").Count == 1);

        Assert.Contains("\"Outcome\":\"Completed\"", daemon.LogLines("AnswerEnded")[0], StringComparison.Ordinal);
        Assert.Equal(7, (await daemon.AskAsync("""{"resume":"a"}""")).Events.Count);
    }

    [Fact]
    public async Task Finished_answer_goes_after_keep_s()
    {
        await using var daemon = await StartAsync(null, "keep_s = 1", "--delay", "0");
        Assert.Equal(19, (await daemon.AskAsync("""{"keep":true,"request_id":"a"}""")).Events.Count);

        await Eventually.TrueAsync(async () => (await daemon.MetricValuesAsync())[
            """streaming_daemon_answers{state="finished"}"""] == 0);

        Assert.StartsWith("HTTP/1.1 404", (await daemon.AskAsync("""{"resume":"a"}""")).StatusLine, StringComparison.Ordinal);
        Assert.Equal(0, (await daemon.MetricValuesAsync())["streaming_daemon_answers_bytes"]);
    }

    [Fact]
    public async Task Answer_that_failed_with_nothing_to_show_is_asked_again_by_the_next_handoff()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var calls = 0;
        upstream.Scenario = async exchange =>
        {
            if (Interlocked.Increment(ref calls) == 1)
            {
                await exchange.StartAsync();
                await exchange.SendRawAsync("data: {\"error\":{\"code\":\"invalid_api_key\"}}\n\n");
                return;
            }

            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a"}""";

        var failed = await daemon.AskAsync(Handoff);
        var answer = await daemon.AskAsync(Handoff);

        Assert.StartsWith("HTTP/1.1 50", failed.StatusLine, StringComparison.Ordinal);
        Assert.Equal(["id: 1\ndata: {\"content\":\"one\"}", "id: 2\ndata: [DONE]"], answer.Events);
    }

    [Theory]
    [InlineData("text")]
    [InlineData("openai")]
    public async Task Answer_that_the_upstream_ended_early_says_so_to_a_reader_that_comes_back_too(string format)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("half");
        };
        await using var daemon = await upstream.StartDaemonAsync();

        var cut = await daemon.AskAsync($$"""{"prompt":"hi","keep":true,"request_id":"a","format":"{{format}}"}""");
        var back = await daemon.AskAsync($$"""{"resume":"a","last_event_id":1,"format":"{{format}}"}""");

        Assert.StartsWith("id: 2\ndata: {\"error\":", cut.Events[^1], StringComparison.Ordinal);
        Assert.Contains("upstream_broke_off", cut.Events[^1], StringComparison.Ordinal);
        Assert.Equal([cut.Events[^1]], back.Events);
        Assert.Equal("UpstreamTruncated", await daemon.OutcomeAsync());
    }

    [Fact]
    public async Task Answer_without_a_reader_ends_before_the_drain_does()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await goOn.Task.WaitAsync(s_limit);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","keep":true}""");
        await TestClient.ReadUntilAsync(client, "one\"}\n\n");
        client.Dispose();
        await daemon.AccessLogAsync(1);

        daemon.Signal(15);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Draining\"").Count == 1);
        Assert.False(daemon.HasExited);
        goOn.SetResult();

        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Contains("\"Outcome\":\"Completed\"", daemon.LogLines("AnswerEnded").Single(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Slow_reader_does_not_slow_another_one()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var word = new string('x', 1000);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            for (var i = 0; i < 900; i++)
                await exchange.SendDeltaAsync(word);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
        await using var daemon = await upstream.StartDaemonAsync();
        const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a"}""";
        using var slow = TestClient.HandOver(daemon.SocketPath, Handoff);
        await TestClient.ReadUntilAsync(slow, "\n\n");

        var fast = await daemon.AskAsync(Handoff);

        Assert.Equal(901, fast.Events.Count);
        Assert.EndsWith("id: 901\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(slow), StringComparison.Ordinal);
    }

    private static List<string> Events(Answer answer) => [.. answer.Events];

    private static string IdOf(Answer answer) => answer.Head.Split("X-Answer-Id: ")[1].Split("\r\n")[0];

    private static async Task<DaemonProcess> StartAsync(
        FakeLlmServer? upstream, string answers, params string[] arguments)
    {
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file, $"[answers]\n{answers}\n");
        return upstream is null
            ? await DaemonProcess.StartAsync(["--config", file, .. arguments])
            : await upstream.StartDaemonAsync(["--config", file, .. arguments]);
    }
}
