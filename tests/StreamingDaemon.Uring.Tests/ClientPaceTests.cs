using System.Buffers;
using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Clients that read slowly, half-close, or leave.</summary>
public sealed class ClientPaceTests
{
    [Trait("Takes", "Long")]
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_reads_slowly_but_steadily_gets_everything(bool tcp)
    {
        // More than the kernel's buffers hold: a Unix socket's is 208 KB, the TCP one's is set below.
        var total = tcp ? 300_000 : 500_000;
        ClientEnd? end = null;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                // Small writes: each is a buffer of its own in the kernel, as tokens are.
                for (var sent = 0; sent < total; sent += 1000)
                {
                    if (!await client.WriteAndFlushAsync(new byte[1000]))
                        break;
                    await Task.Yield();
                }

                client.Complete();
                end = await client.Ended;
            },
            options => options with { WriteTimeoutMs = 1500, MaxPendingBytes = 8192 });
        var (browser, theirs) = Pair(tcp);
        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)theirs.Handle);
        theirs.Dispose();

        // The kernel completes a parked send when a good part of its buffer is free. For two and a half write
        // timeouts the client takes too little for that, and still it takes some.
        var buffer = new byte[1000];
        var received = 0;
        await Eventually.TrueAsync(() => browser.Available > 0);
        for (var until = Environment.TickCount64 + 3750; Environment.TickCount64 < until;)
        {
            received += browser.Receive(buffer, Math.Min(buffer.Length, 500), SocketFlags.None);
            await Task.Delay(40);
        }

        Assert.Null(end);
        received += (await TestClient.ReadToEndAsync(browser)).Length;
        Assert.Equal(total, received);
        await Eventually.TrueAsync(() => end is not null);
        Assert.Equal(ClientEnd.Completed, end);
        browser.Dispose();
    }

    [Fact]
    public async Task Pending_bytes_of_a_client_never_pass_the_limit_however_large_a_flush_is()
    {
        const int Limit = 20_000;
        long highest = 0;
        var done = false;
        ClientStream? stream = null;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                stream = client;
                var random = new Random(7);
                for (var i = 0; i < 300; i++)
                {
                    client.Write(new byte[random.Next(1, 60_000)]);
                    var flush = client.FlushAsync();
                    highest = Math.Max(highest, client.UnsentBytes);
                    Assert.True(await flush);
                }

                client.Write(new byte[300]);
                client.Complete();
                highest = Math.Max(highest, client.UnsentBytes);
                done = true;
            },
            options => options with { MaxPendingBytes = Limit });

        using var client = TestClient.HandOver(server.SocketPath, "{}");
        var watch = Task.Run(async () =>
        {
            long seen = 0;
            while (!Volatile.Read(ref done))
            {
                seen = Math.Max(seen, stream?.UnsentBytes ?? 0);
                await Task.Yield();
            }

            return seen;
        });
        _ = await TestClient.ReadToEndAsync(client);

        Assert.InRange(Math.Max(await watch, highest), Limit / 2, Limit);
    }

    [Trait("Takes", "Long")]
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_reads_a_byte_at_a_time_for_longer_than_the_write_timeout_gets_the_whole_answer(bool tcp)
    {
        const int writeTimeoutMs = 100;
        var ended = new TaskCompletionSource<ClientEnd>();
        var expected = string.Concat(Enumerable.Range(0, 60).Select(i => $"data: {i}\n\n"));
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                for (var i = 0; i < 60; i++)
                    await client.WriteAndFlushAsync(Encoding.UTF8.GetBytes($"data: {i}\n\n"));
                client.Complete();
                ended.SetResult(await client.Ended);
            },
            options => options with { WriteTimeoutMs = writeTimeoutMs, LingerTimeoutMs = 60_000 });
        using var client = tcp ? TestClient.HandOverTcp(server.SocketPath, "{}") : TestClient.HandOver(server.SocketPath, "{}");

        var started = Environment.TickCount64;
        var read = new StringBuilder();
        var one = new byte[1];
        while (await client.ReceiveAsync(one, SocketFlags.None).WaitAsync(TestClient.Patience) == 1)
        {
            read.Append((char)one[0]);
            // The pace is what the claim is about.
            await Task.Delay(1);
        }

        Assert.Equal(expected, read.ToString());
        Assert.True(Environment.TickCount64 - started > 3 * writeTimeoutMs);
        Assert.Equal(ClientEnd.Completed, await ended.Task.WaitAsync(TestClient.Patience));
    }

    /// <summary>As a watchdog does over a backend that it left behind in the middle of a large flush.</summary>
    [Fact]
    public async Task Stream_that_is_completed_inside_a_flush_that_goes_on_is_aborted_and_its_beginning_is_no_whole_answer()
    {
        var completed = new TaskCompletionSource<(bool IsCut, ClientEnd End)>();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                client.Write(new byte[4_000_000]);
                var flush = client.FlushAsync();
                Assert.False(flush.IsCompleted);

                client.Write("data: {\"error\":"u8);
                client.Complete();

                completed.SetResult((client.IsCut, await client.Ended));
                Assert.False(await flush);
            },
            options => options with { MaxPendingBytes = 20_000 });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal((true, ClientEnd.Aborted), await completed.Task.WaitAsync(TestClient.Patience));
        Assert.DoesNotContain((byte)'d', await TestClient.ReadToEndAsync(client));
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        Assert.Empty(server.Faults);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Half_close_is_the_end_or_is_not_as_configured(bool keep, bool tcp)
    {
        var ended = new TaskCompletionSource<ClientEnd>();
        var write = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                client.Cancelled.Register(() => write.TrySetResult());
                await write.Task;
                await client.WriteAndFlushAsync(new byte[5000]);
                client.Complete();
                ended.SetResult(await client.Ended);
            },
            options => options with { KeepHalfClosed = keep });
        using var client = tcp ? TestClient.HandOverTcp(server.SocketPath, "{}") : TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 1);

        client.Shutdown(SocketShutdown.Send);

        if (!keep)
        {
            Assert.Equal(ClientEnd.ClientGone, await ended.Task.WaitAsync(TestClient.Patience));
            return;
        }

        // Another client's whole stream later, the first one still stands.
        var second = tcp ? TestClient.HandOverTcp(server.SocketPath, "{}") : TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 2);
        Assert.False(ended.Task.IsCompleted);
        write.SetResult();
        Assert.Equal(5000, (await TestClient.ReadToEndAsync(client)).Length);
        Assert.Equal(ClientEnd.Completed, await ended.Task.WaitAsync(TestClient.Patience));
        second.Dispose();
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Half_closed_client_that_is_kept_does_not_keep_the_loop_awake(bool tcp)
    {
        await using var server = await RunningServer.StartAsync(
            client => client.Ended.AsTask(), options => options with { KeepHalfClosed = true });
        using var client = tcp ? TestClient.HandOverTcp(server.SocketPath, "{}") : TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 1);
        client.Shutdown(SocketShutdown.Send);

        var (turns, begun) = (server.Server.Statistics.Turns, Environment.TickCount64);
        await Eventually.TrueAsync(() => Environment.TickCount64 - begun > 300);

        // A poll that is armed again each time answers at once: ten thousands of turns.
        Assert.InRange(server.Server.Statistics.Turns - turns, 0, 200);
        Assert.Equal(1, server.Server.Statistics.ActiveConnections);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public async Task Full_close_ends_the_stream_although_half_closed_clients_are_kept(bool tcp, bool reset)
    {
        // A client that is gone before its socket was checked has no handler.
        var begun = new TaskCompletionSource();
        var ended = new TaskCompletionSource<ClientEnd>();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                begun.TrySetResult();
                // A FIN alone could be half a close; what is sent then is answered with a reset. A reset, and the
                // close of a Unix socket, are seen without.
                while (!client.Cancelled.IsCancellationRequested)
                {
                    if (tcp && !reset)
                        await client.WriteAndFlushAsync(new byte[10]);
                    await Task.Yield();
                }

                ended.TrySetResult(await client.Ended);
            },
            options => options with { KeepHalfClosed = true });
        var client = tcp ? TestClient.HandOverTcp(server.SocketPath, "{}") : TestClient.HandOver(server.SocketPath, "{}");
        await begun.Task.WaitAsync(TestClient.Patience);

        if (reset)
            client.LingerState = new LingerOption(true, 0);
        client.Dispose();

        Assert.Equal(ClientEnd.ClientGone, await ended.Task.WaitAsync(TestClient.Patience));
    }

    private static (Socket Browser, Socket Theirs) Pair(bool tcp)
    {
        if (tcp)
            return TestClient.TcpPair(small: true);
        var (left, right) = Posix.SocketPair();
        return (Posix.ToSocket(left), Posix.ToSocket(right));
    }
}
