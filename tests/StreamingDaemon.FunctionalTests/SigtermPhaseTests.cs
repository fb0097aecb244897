using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>SIGTERM in each phase of an answer that is kept and delivered: nothing is lost, and nothing arrives twice.
/// </summary>
public sealed class SigtermPhaseTests : IDisposable
{
    private const int SigTerm = 15;
    private const string Handoff = """{"prompt":"hi","keep":true,"request_id":"a","user_id":7}""";

    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;

    public SigtermPhaseTests() => _site = new DeliverySite(_receiver.Url);

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
    }

    [Theory]
    [InlineData("")]
    [InlineData("one")]
    public async Task Sigterm_while_an_answer_runs_lets_it_end_whole_and_arrive_once(string said)
    {
        await using var upstream = await PausedUpstream.StartAsync(said.Length == 0 ? [] : [said], ["two"]);
        await using (var daemon = await _site.StartAsync(upstream.Server))
        {
            using var client = TestClient.HandOver(daemon.SocketPath, Handoff);
            await upstream.Server.NextRequestAsync(TestClient.Patience);
            var text = said.Length == 0 ? "" : await TestClient.ReadUntilAsync(client, said);
            daemon.Signal(SigTerm);
            await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"Draining\"").Count == 1);
            upstream.GoOn();

            text += await TestClient.ReadTextAsync(client);
            Assert.EndsWith("data: [DONE]\n\n", text, StringComparison.Ordinal);
            Assert.Equal(0, await daemon.ExitCodeAsync());
        }

        await using var next = await _site.StartAsync(upstream.Server);
        await ArrivedOnceAsync(next, said + "two");
    }

    [Fact]
    public async Task Sigterm_between_two_attempts_leaves_the_delivery_to_the_next_daemon()
    {
        _receiver.Status = (_, _) => 500;
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using (var daemon = await _site.StartAsync(upstream.Server))
        {
            await daemon.AskAsync(Handoff);
            await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"DeliveryFailed\"").Count > 0);
            daemon.Signal(SigTerm);
            Assert.Equal(0, await daemon.ExitCodeAsync());
        }

        var first = _receiver.All[0].Id;
        _receiver.Status = (_, _) => 204;
        await using var next = await _site.StartAsync(upstream.Server);
        Assert.Equal(first, await ArrivedOnceAsync(next, "onetwothree"));
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Sigterm_while_Redis_is_asked_for_the_name_loses_no_client()
    {
        await using var redis = await RedisServer.StartAsync();
        await using var upstream = await PausedUpstream.StartAsync();
        upstream.GoOn();
        await using var daemon = await upstream.Server.StartSharedAsync(redis);
        await Eventually.TrueAsync(async () =>
            (await daemon.HealthAsync()).Body.GetProperty("answers_redis").GetString() == "ok");

        await redis.CommandAsync("CLIENT", "PAUSE", "600", "ALL");
        using var client = TestClient.HandOver(daemon.SocketPath, Handoff);
        daemon.Signal(SigTerm);

        Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal(1, upstream.Calls);
    }

    /// <returns>Its id.</returns>
    private async Task<string> ArrivedOnceAsync(DaemonProcess daemon, string content)
    {
        var body = (await _receiver.AcceptedAsync(1))[0].Body;
        Assert.Equal(("Completed", content),
            (body.GetProperty("outcome").GetString(), body.GetProperty("content").GetString()));
        await Eventually.TrueAsync(() => _site.Pending.Count == 0);
        await Eventually.TrueAsync(async () =>
            (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_pending"] == 0);
        Assert.Single(_receiver.Accepted);
        return _receiver.Accepted[0].Id;
    }
}
