using System.Buffers;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class KeepAliveTests
{
    private const string Comment = ": keep-alive\n\n";

    private static HandoffServerOptions Every(int intervalMs, HandoffServerOptions options) =>
        options with { KeepAlive = Encoding.UTF8.GetBytes(Comment), KeepAliveIntervalMs = intervalMs };

    [Theory]
    [InlineData(0)]
    [InlineData(10)]
    public async Task Stream_whose_first_flush_comes_late_is_left_alone_until_then(int keepAliveMs)
    {
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                // Ten times the time that a handoff, and the check of its socket, may take.
                await Task.Delay(300);
                Encoding.UTF8.GetBytes("head", client);
                await client.FlushAsync();
                client.Complete();
            },
            options => Every(keepAliveMs, options) with { HandoffTimeoutMs = 30 });
        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal("head", await TestClient.ReadTextAsync(client));
    }

    [Fact]
    public async Task Silent_stream_is_kept_alive_once_its_producer_allows_it_and_no_sooner()
    {
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                Encoding.UTF8.GetBytes("head", client);
                if (client.HandoffData.SequenceEqual("kept alive"u8))
                    client.BeginKeepAlive();
                client.FlushWithoutWaiting();
                await client.Ended;
            },
            options => Every(20, options));
        using var without = TestClient.HandOver(server.SocketPath, "not");
        using var with = TestClient.HandOver(server.SocketPath, "kept alive");

        // Five intervals of the one: the other had as many chances.
        var text = await TestClient.ReadUntilAsync(with, string.Concat(Enumerable.Repeat(Comment, 5)));

        Assert.StartsWith("head" + Comment, text, StringComparison.Ordinal);
        Assert.Equal("head", await TestClient.ReadUntilAsync(without, "head"));
        Assert.Equal(0, without.Available);
    }

    [Fact]
    public async Task Nothing_is_sent_before_the_head()
    {
        var write = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                client.BeginKeepAlive();
                if (client.HandoffData.SequenceEqual("now"u8))
                    write.SetResult();
                await write.Task;
                Encoding.UTF8.GetBytes("head", client);
                client.FlushWithoutWaiting();
                await client.Ended;
            },
            options => Every(20, options));
        using var late = TestClient.HandOver(server.SocketPath, "late");
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 1);

        using var control = TestClient.HandOver(server.SocketPath, "now");
        _ = await TestClient.ReadUntilAsync(control, Comment);

        Assert.StartsWith("head", await TestClient.ReadUntilAsync(late, Comment), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Events_and_keep_alives_follow_each_other_whole_however_they_race(bool tcp)
    {
        const int Events = 400;
        long sent = 0;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                var random = new Random(1);
                client.BeginKeepAlive();
                for (var i = 0; i < Events; i++)
                {
                    Encoding.UTF8.GetBytes($"data: {i} {new string('x', random.Next(20_000))}\n\n", client);
                    Assert.True(await client.FlushAsync());
                    await Task.Delay(random.Next(4));
                }

                client.Complete();
                await client.Ended;
                Interlocked.Exchange(ref sent, client.BytesSent);
            },
            // Events of up to 20 KB against this limit: some travel in pieces.
            options => Every(1, options) with { MaxPendingBytes = 8192 });

        using var client = tcp ? TestClient.HandOverTcp(server.SocketPath, "{}") : TestClient.HandOver(server.SocketPath, "{}");
        var bytes = await TestClient.ReadToEndAsync(client);

        var parts = Encoding.UTF8.GetString(bytes).Split("\n\n");
        Assert.Equal("", parts[^1]);
        var events = parts[..^1].Where(p => p + "\n\n" != Comment).ToList();
        Assert.True(parts.Length - 1 > events.Count, "no keep-alive raced");
        Assert.Equal(Events, events.Count);
        for (var i = 0; i < Events; i++)
            Assert.Matches($"^data: {i} x*$", events[i]);
        await Eventually.TrueAsync(() => Interlocked.Read(ref sent) != 0);
        Assert.Equal(bytes.Length, sent);
        Assert.Equal(bytes.Length, server.Server.Statistics.BytesSent);
        Assert.Empty(server.Faults);
    }

    [Fact]
    public async Task Stream_that_stands_inside_a_flush_is_sent_no_keep_alive()
    {
        var cut = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                client.BeginKeepAlive();
                if (!client.HandoffData.SequenceEqual("cut"u8))
                {
                    Encoding.UTF8.GetBytes("head", client);
                    client.FlushWithoutWaiting();
                }
                else
                {
                    client.Write(new byte[3_000_000]);
                    using var cancellation = new CancellationTokenSource();
                    var flush = client.FlushAsync(cancellation.Token).AsTask();
                    await Eventually.TrueAsync(() => client.BytesSent > 2_000 && client.UnsentBytes > 5_000);
                    await cancellation.CancelAsync();
                    await Assert.ThrowsAsync<OperationCanceledException>(() => flush);
                    Assert.True(client.IsCut);
                    cut.SetResult();
                }

                await client.Ended;
            },
            options => Every(20, options) with { MaxPendingBytes = 20_000 });
        using var client = TestClient.HandOver(server.SocketPath, "cut");
        await cut.Task.WaitAsync(TestClient.Patience);
        // Read what it was sent, so that it is idle and not behind.
        var all = new List<byte>();
        var buffer = new byte[100_000];
        using var control = TestClient.HandOver(server.SocketPath, "whole");
        for (var kept = 0; kept < 5;)
        {
            while (client.Available > 0)
                all.AddRange(buffer.AsSpan(0, client.Receive(buffer)));
            kept += control.Available / Comment.Length;
            if (control.Available > 0)
                control.Receive(buffer);
            await Task.Yield();
        }

        Assert.DoesNotContain((byte)':', all);
        Assert.Empty(server.Faults);
    }

    [Fact]
    public async Task Client_that_does_not_read_its_keep_alives_is_dropped_as_slow()
    {
        ClientEnd? end = null;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                client.BeginKeepAlive();
                Encoding.UTF8.GetBytes("head", client);
                client.FlushWithoutWaiting();
                end = await client.Ended;
            },
            options => options with
            {
                KeepAlive = new byte[60_000],
                KeepAliveIntervalMs = 1,
                WriteTimeoutMs = 200,
            });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        await Eventually.TrueAsync(() => end is not null);
        Assert.Equal(ClientEnd.SlowClient, end);
    }
}
