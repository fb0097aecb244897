using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A stop in each phase of a kept answer.</summary>
public sealed class StopPhaseTests
{
    private const string Stop = """{"stop":"a","user_id":7}""";
    private const string NoHead = "[streaming]\nhead_wait_ms = 15000\n";

    [Theory]
    [InlineData("text", true)]
    [InlineData("text", false)]
    [InlineData("openai", true)]
    [InlineData("openai", false)]
    public async Task Stop_before_the_first_token_is_an_answer_that_ends_at_once(string format, bool hasHead)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            if (hasHead)
                await exchange.StartAsync();
            await exchange.WaitForAbortAsync(TestClient.Patience);
        };
        await using var daemon = await StartAsync(upstream, NoHead);
        using var client = TestClient.HandOver(daemon.SocketPath, Handoff(format));
        var request = await upstream.NextRequestAsync(TestClient.Patience);

        Assert.Equal("{\"stopped\":true,\"request_id\":\"a\"}\n", (await daemon.AskAsync(Stop)).Body);

        var text = await TestClient.ReadTextAsync(client);
        Assert.StartsWith("HTTP/1.1 200 OK", text, StringComparison.Ordinal);
        Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
        await request.Aborted.WaitAsync(TestClient.Patience);
        var again = await daemon.AskAsync("""{"resume":"a","user_id":7}""");
        Assert.EndsWith(string.Join("\n\n", again.Events) + "\n\n", text, StringComparison.Ordinal);
        Assert.StartsWith("{\"stopped\":true", (await daemon.AskAsync(Stop)).Body, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("text")]
    [InlineData("openai")]
    public async Task Stop_after_the_finish_reason_tells_no_second_one(string format)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("one");
            await exchange.SendFinishAsync("length");
            // It would count its tokens now.
            await exchange.WaitForAbortAsync(TestClient.Patience);
        };
        await using var daemon = await StartAsync(upstream, "");
        using var client = TestClient.HandOver(daemon.SocketPath, Handoff(format));
        var text = await TestClient.ReadUntilAsync(client, "length");

        await daemon.AskAsync(Stop);

        text += await TestClient.ReadTextAsync(client);
        Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
        Assert.DoesNotContain("\"stop\"", text, StringComparison.Ordinal);
    }

    [Theory]
    [Trait("Needs", "Tools")]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Answer_that_is_written_to_the_spool_is_whole_and_no_stop_changes_that(bool isSigterm)
    {
        using var receiver = new DeliveryReceiver();
        using var site = new DeliverySite(receiver.Url);
        using var directory = new TempDirectory();
        await using var upstream = await PausedUpstream.StartAsync();
        await using var daemon = await site.StartAsync(upstream.Server);
        using var client = TestClient.HandOver(daemon.SocketPath, Handoff("text"));
        await TestClient.ReadUntilAsync(client, "two\"}\n\n");
        // To have a name on the disk, the daemon opens the directory.
        using var held = await HeldOpen.OfAsync(directory, site.Spool + "/pending");
        upstream.GoOn();
        await held.OpenedAsync();

        if (isSigterm)
            daemon.Signal(15);
        else
            Assert.StartsWith("{\"stopped\":false", (await daemon.AskAsync(Stop)).Body, StringComparison.Ordinal);
        await held.ReleaseAsync();

        Assert.EndsWith("id: 5\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        if (isSigterm)
            Assert.Equal(0, await daemon.ExitCodeAsync());
        else
            await receiver.AcceptedAsync(1);
        var body = receiver.All.Count > 0 ? receiver.All[0].Body
            : System.Text.Json.JsonDocument.Parse(await File.ReadAllTextAsync(Assert.Single(site.Pending))).RootElement;
        Assert.Equal(("Completed", "onetwothree"),
            (body.GetProperty("outcome").GetString(), body.GetProperty("content").GetString()));
        Assert.Equal("Completed", (await daemon.AccessLogAsync(1))[0].GetProperty("Outcome").GetString());
    }

    [Fact]
    public async Task Stop_ends_an_orphan_and_one_that_two_handoffs_joined()
    {
        await using var upstream = await PausedUpstream.StartAsync();
        await using var daemon = await StartAsync(upstream.Server, "");
        using (var client = TestClient.HandOver(daemon.SocketPath, Handoff("text")))
            await TestClient.ReadUntilAsync(client, "two\"}\n\n");
        await daemon.AccessLogAsync(1);
        var request = await upstream.Server.NextRequestAsync(TestClient.Patience);

        Assert.StartsWith("{\"stopped\":true", (await daemon.AskAsync(Stop)).Body, StringComparison.Ordinal);

        await request.Aborted.WaitAsync(TestClient.Patience);
        Assert.Equal("id: 4\ndata: [DONE]", (await daemon.AskAsync(Handoff("text"))).Events[^1]);
    }

    private static string Handoff(string format) =>
        $$"""{"prompt":"hi","keep":true,"request_id":"a","user_id":7,"format":"{{format}}","events":["finish"]}""";

    private static async Task<DaemonProcess> StartAsync(FakeLlmServer upstream, string options)
    {
        using var directory = new TempDirectory();
        var file = directory.File("answers.toml");
        await File.WriteAllTextAsync(file, options);
        return await upstream.StartDaemonAsync("--config", file);
    }
}
