using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

[Trait("Takes", "Long")]
public sealed class AdmissionTests
{
    [Theory]
    [InlineData("seqpacket", Posix.SockSeqPacket)]
    [InlineData("stream", Posix.SockStream)]
    public async Task Far_more_clients_than_descriptors_all_read_a_whole_answer_or_a_whole_503(string kind, int type)
    {
        await using var daemon = await DaemonProcess.StartUnderAsync(["prlimit", "--nofile=512:512"], null, true,
            "--delay", "20", "--socket-type", kind);
        using (var warm = TestClient.HandOver(daemon.SocketPath, "{}", type))
            Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(warm)).IsDone);
        _ = await daemon.MetricsAsync();
        await Eventually.TrueAsync(() => daemon.LogLines("Completed").Count == 1);
        var before = daemon.OpenSockets();
        // These peers send no handoff, and must not delay the others.
        var silent = Enumerable.Range(0, 1000).Select(_ => Posix.ConnectUnix(daemon.SocketPath, type)).ToList();

        var clients = new List<Socket>();
        for (var i = 0; i < 3000; i++)
            clients.Add(TestClient.HandOver(daemon.SocketPath, "{}", type));
        var answers = await Task.WhenAll(clients.Select(async client =>
        {
            // Like a browser: read the answer, then leave.
            using (client)
                return Answer.Parse(await TestClient.ReadToEndAsync(client, TimeSpan.FromSeconds(60)));
        }));

        var refused = answers.Where(a => !a.IsDone).ToList();
        Assert.All(refused, a =>
        {
            Assert.Equal("HTTP/1.1 503 Service Unavailable", a.StatusLine);
            Assert.Contains("\r\nRetry-After: ", a.Head, StringComparison.Ordinal);
            Assert.EndsWith("}\n", a.Body, StringComparison.Ordinal);
        });
        Assert.InRange(refused.Count, 1, 2990);
        // The daemon used all the connections that the limit of descriptors allows.
        var max = (await daemon.HealthAsync()).Body.GetProperty("connections").GetProperty("max").GetInt32();
        Assert.Contains($"streaming_daemon_connections_peak {max}\n", await daemon.MetricsAsync(),
            StringComparison.Ordinal);
        Assert.Empty(daemon.LogLines("DescriptorsTruncated"));

        silent.ForEach(fd => Posix.Close(fd));
        using (var after = TestClient.HandOver(daemon.SocketPath, "{}", type))
            Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(after)).IsDone);
        await Eventually.TrueAsync(() => daemon.OpenSockets() <= before);
    }

    [Fact]
    public async Task Peer_that_may_not_hand_over_is_dropped_logged_and_counted()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_SERVER__ALLOWED_UIDS"] = "4000000, 4000001" }, true);

        var connection = Posix.ConnectUnix(daemon.SocketPath, Posix.SockSeqPacket);

        await Eventually.TrueAsync(() => daemon.LogLines("PeerNotAllowed").Count == 1);
        Posix.Close(connection);
        Assert.Contains($"\"Uid\":{Posix.EffectiveUid()},\"Gid\":{Posix.EffectiveGid()},\"Pid\":{Environment.ProcessId},",
            daemon.LogLines("PeerNotAllowed")[0], StringComparison.Ordinal);
        Assert.Contains("streaming_daemon_streams_total{backend=\"none\",outcome=\"BadHandoff\"} 1\n",
            await daemon.MetricsAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Peer_whose_group_is_listed_may_hand_over()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["STREAMING_DAEMON_SERVER__ALLOWED_UIDS"] = "4000000",
                ["STREAMING_DAEMON_SERVER__ALLOWED_GIDS"] = $"{Posix.EffectiveGid()}",
            }, true, "--delay", "0");

        Assert.True((await daemon.AskAsync("{}")).IsDone);
    }
}
