using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A process that stood still (a paused container, a migrated machine). When it wakes, every
/// deadline has passed, and what arrived meanwhile waits in its sockets.</summary>
public sealed class FrozenTests
{
    private const int SigCont = 18;
    private const int SigStop = 19;
    private static readonly TimeSpan s_frozen = TimeSpan.FromSeconds(1.2);

    [Fact]
    public async Task Handoffs_that_came_while_the_daemon_stood_still_are_served_and_not_timed_out()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_TIMEOUTS__HANDOFF_TIMEOUT_MS"] = "600" }, true,
            "--delay", "0");
        var peers = Enumerable.Range(0, 100).Select(_ =>
            Posix.ConnectUnix(daemon.SocketPath, Posix.SockSeqPacket)).ToList();
        // The daemon has accepted them all, and waits for their messages.
        await Eventually.TrueAsync(() => daemon.OpenSockets() >= 100);

        daemon.Signal(SigStop);
        var clients = peers.Select(peer =>
        {
            var (ours, theirs) = Posix.SocketPair();
            Posix.SendDescriptors(peer, "{}"u8, theirs);
            Posix.Close(theirs);
            Posix.Close(peer);
            return Posix.ToSocket(ours);
        }).ToList();
        // Not a wait for an event: the deadlines must pass.
        await Task.Delay(s_frozen);
        daemon.Signal(SigCont);

        foreach (var client in clients)
            Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(client)).IsDone);
        Assert.Empty(daemon.LogLines("TimedOut"));
        clients.ForEach(client => client.Dispose());
    }

    [Fact]
    public async Task Upstream_that_spoke_while_the_daemon_stood_still_is_not_taken_for_a_silent_one()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync("before");
            await goOn.Task;
            await exchange.SendDeltaAsync("after");
            await exchange.SendDoneAsync();
        };
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_TIMEOUTS__IDLE_TIMEOUT_MS"] = "1000";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");
        await TestClient.ReadUntilAsync(client, "before\"}\n\n");

        daemon.Signal(SigStop);
        goOn.SetResult();
        await Task.Delay(s_frozen);
        daemon.Signal(SigCont);

        Assert.Equal("data: {\"content\":\"after\"}\n\ndata: [DONE]\n\n", await TestClient.ReadTextAsync(client));
    }

    [Fact]
    public async Task Handoffs_that_begin_after_the_shutdown_timeout_read_a_503_and_none_an_empty_answer()
    {
        // Few descriptors for refusals: most queued handoffs must wait until the running stream is cut off.
        // CoreCLR keeps two for each assembly.
        var limit = DaemonProcess.Command()[0] == "dotnet" ? 368 : 320;
        await using var daemon = await DaemonProcess.StartUnderAsync(["prlimit", $"--nofile={limit}:{limit}"],
            new Dictionary<string, string> { ["STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S"] = "1" }, true,
            "--delay", "60000", "-c", "1");
        using var running = TestClient.HandOver(daemon.SocketPath, "{}");
        await TestClient.ReadUntilAsync(running, "\n\n");
        daemon.Signal(SigStop);
        var queued = Enumerable.Range(0, 40).Select(_ => TestClient.HandOver(daemon.SocketPath, "{}")).ToList();
        daemon.Signal(15);
        daemon.Signal(SigCont);

        Assert.Contains("data: {\"error\":", await TestClient.ReadTextAsync(running), StringComparison.Ordinal);
        foreach (var client in queued)
        {
            var answer = Answer.Parse(await TestClient.ReadToEndAsync(client));
            client.Dispose();
            Assert.True(answer.StatusLine.Contains("503", StringComparison.Ordinal) || answer.Error is not null,
                answer.Raw);
        }

        Assert.Equal(0, await daemon.ExitCodeAsync());
        // Every handoff has its line in the access log.
        Assert.Equal(41, (await daemon.AccessLogAsync(41)).Count);
    }
}
