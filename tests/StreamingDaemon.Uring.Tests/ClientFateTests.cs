using System.Buffers;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>What clients do while they are streamed to, over every kind of socket they come on.</summary>
public sealed class ClientFateTests
{
    public enum Kind
    {
        IPv4,
        IPv6,
        Unix,
    }

    public enum Moment
    {
        BeforeTheHead,
        InsideAnEvent,
        AfterTheLastEvent,
    }

    [Theory]
    [InlineData(Kind.IPv4, false)]
    [InlineData(Kind.IPv4, true)]
    [InlineData(Kind.IPv6, false)]
    [InlineData(Kind.IPv6, true)]
    [InlineData(Kind.Unix, false)]
    [InlineData(Kind.Unix, true)]
    public async Task Blocking_and_non_blocking_clients_of_every_family_get_every_byte(Kind kind, bool blocking)
    {
        var data = new byte[3_000_000];
        new Random(4).NextBytes(data);
        await using var server = await RunningServer.StartAsync(async client =>
        {
            Assert.True(await client.WriteAndFlushAsync(data));
            client.Complete();
        });
        var (browser, theirs) = Pair(kind);
        theirs.Blocking = blocking;
        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)theirs.Handle);
        theirs.Dispose();

        // Far more than the kernel's buffers hold: the daemon meets a full one.
        Assert.Equal(data, await TestClient.ReadToEndAsync(browser));
        browser.Dispose();
    }

    [Theory]
    [InlineData(Moment.BeforeTheHead, false)]
    [InlineData(Moment.BeforeTheHead, true)]
    [InlineData(Moment.InsideAnEvent, false)]
    [InlineData(Moment.InsideAnEvent, true)]
    [InlineData(Moment.AfterTheLastEvent, false)]
    [InlineData(Moment.AfterTheLastEvent, true)]
    public async Task Client_that_leaves_or_resets_ends_its_stream_once_and_frees_everything(Moment moment, bool reset)
    {
        var before = OpenDescriptors.SocketsAndRings();
        var ended = new TaskCompletionSource<ClientEnd>();
        await using (var server = await RunningServer.StartAsync(async client =>
        {
            switch (moment)
            {
                case Moment.BeforeTheHead:
                    break;
                case Moment.InsideAnEvent:
                    // So much that the client leaves in the midst of it.
                    while (await client.WriteAndFlushAsync(new byte[100_000]))
                    {
                    }

                    break;
                default:
                    await client.WriteAndFlushAsync(new byte[100]);
                    client.Complete();
                    break;
            }

            ended.SetResult(await client.Ended);
        }))
        {
            var browser = TestClient.HandOverTcp(server.SocketPath, "{}");
            await Eventually.TrueAsync(() => server.Server.Statistics.Started == 1);
            if (moment == Moment.InsideAnEvent)
                _ = await browser.ReceiveAsync(new byte[70_000], SocketFlags.None).WaitAsync(TestClient.Patience);
            else if (moment == Moment.AfterTheLastEvent)
                Assert.Equal(100, (await TestClient.ReadToEndAsync(browser)).Length);
            if (reset)
                browser.LingerState = new LingerOption(true, 0);
            browser.Dispose();

            var end = await ended.Task.WaitAsync(TestClient.Patience);
            Assert.Equal(moment == Moment.AfterTheLastEvent ? ClientEnd.Completed : ClientEnd.ClientGone, end);
            await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
            Assert.Empty(server.Faults);
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Theory]
    [InlineData(Kind.IPv4)]
    [InlineData(Kind.IPv6)]
    [InlineData(Kind.Unix)]
    public async Task Client_that_keeps_sending_reads_the_answer_to_its_end_and_no_reset(Kind kind)
    {
        await using var server = await RunningServer.StartAsync(async client =>
        {
            for (var i = 0; i < 200; i++)
            {
                Encoding.UTF8.GetBytes($"{i},", client);
                await client.FlushAsync();
                await Task.Yield();
            }

            client.Complete();
        });
        var (browser, theirs) = Pair(kind);
        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)theirs.Handle);
        theirs.Dispose();

        // The rest of a POST, and the next request: until the answer has been read.
        using var stop = new CancellationTokenSource();
        var sending = Task.Run(async () =>
        {
            long sent = 0;
            try
            {
                while (!stop.IsCancellationRequested && sent < 8_000_000)
                    sent += await browser.SendAsync(new byte[5000], stop.Token);
            }
            catch (OperationCanceledException)
            {
                // The answer is read, and nobody reads what is sent.
            }
        });
        var answer = await TestClient.ReadTextAsync(browser);
        await stop.CancelAsync();

        Assert.Equal(string.Concat(Enumerable.Range(0, 200).Select(i => $"{i},")), answer);
        await sending.WaitAsync(TestClient.Patience);
        browser.Dispose();
    }

    [Fact]
    public async Task Client_that_sends_without_end_is_closed_when_its_drain_is_over()
    {
        await using var server = await RunningServer.StartAsync(
            client =>
            {
                client.Write("end"u8);
                client.Complete();
                return client.Ended.AsTask();
            },
            options => options with { MaxLingerBytes = 100_000, LingerTimeoutMs = 600_000 });
        using var browser = TestClient.HandOverTcp(server.SocketPath, "{}");
        Assert.Equal("end", await TestClient.ReadTextAsync(browser));

        await Assert.ThrowsAsync<SocketException>(async () =>
        {
            for (var i = 0; i < 1_000_000; i++)
                await browser.SendAsync(new byte[10_000]).WaitAsync(TestClient.Patience);
        });
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
    }

    private static (Socket Browser, Socket Theirs) Pair(Kind kind)
    {
        if (kind != Kind.Unix)
            return TestClient.TcpPair(kind == Kind.IPv6);
        var (left, right) = Posix.SocketPair();
        return (Posix.ToSocket(left), Posix.ToSocket(right));
    }
}
