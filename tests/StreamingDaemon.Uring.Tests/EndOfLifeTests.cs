using System.Buffers;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class EndOfLifeTests
{
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Stop_closes_every_client_in_every_state_with_and_without_sqpoll(bool sqPoll)
    {
        var before = OpenDescriptors.SocketsAndRings();
        await using (var server = await RunningServer.StartAsync(
            async client =>
            {
                client.Write("begun"u8);
                await client.FlushAsync();
                if (client.HandoffData.SequenceEqual("complete"u8))
                    client.Complete();
                else
                    await client.Ended;
            },
            options => options with { SqPoll = sqPoll, LingerTimeoutMs = 60_000 }))
        {
            // Some stream, some have got their FIN and are waited for.
            var clients = Enumerable.Range(0, 400)
                .Select(i => TestClient.HandOver(server.SocketPath, i % 2 == 0 ? "complete" : "stay")).ToList();
            await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == 5 * clients.Count);

            server.Server.Stop();
            await server.Server.Completion.WaitAsync(TestClient.Patience);

            // The server's ends are closed, or these reads would wait for ever.
            foreach (var client in clients)
            {
                Assert.Equal("begun", await TestClient.ReadTextAsync(client));
                client.Dispose();
            }
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Fact]
    public async Task Stop_ends_although_handoffs_keep_coming()
    {
        await using var server = await RunningServer.StartAsync(client => client.Ended.AsTask());
        var clients = new List<Socket>();
        var handing = Task.Run(() =>
        {
            try
            {
                while (true)
                    clients.Add(TestClient.HandOver(server.SocketPath, "{}"));
            }
            catch (PosixException)
            {
                // Nobody listens any more.
            }
        });
        await Eventually.TrueAsync(() => server.Server.Statistics.Started > 100);

        server.Server.Stop();

        await server.Server.Completion.WaitAsync(TestClient.Patience);
        await handing.WaitAsync(TestClient.Patience);
        clients.ForEach(c => c.Dispose());
    }

    [Fact]
    public async Task Bytes_sent_are_final_when_the_stream_has_ended()
    {
        var reported = new List<(long AtEnd, ClientStream Stream)>();
        await using var server = await RunningServer.StartAsync(async client =>
        {
            while (await client.WriteAndFlushAsync(new byte[50_000]))
            {
            }

            await client.Ended;
            lock (reported)
                reported.Add((client.BytesSent, client));
        });

        for (var i = 0; i < 50; i++)
        {
            using var client = TestClient.HandOver(server.SocketPath, "{}");
            var buffer = new byte[100_000];
            for (var received = 0; received < 200_000;)
                received += await client.ReceiveAsync(buffer);
        }

        await Eventually.TrueAsync(() => reported.Count == 50);
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        Assert.All(reported, r => Assert.Equal(r.Stream.BytesSent, r.AtEnd));
        Assert.Equal(server.Server.Statistics.BytesSent, reported.Sum(r => r.AtEnd));
    }

    [Theory]
    [InlineData(20, 100_000, false)]
    [InlineData(20, 2_000_000, false)]
    [InlineData(0, 2_000_000, true)]
    public async Task Cancelled_flush_sends_nothing_unless_it_is_larger_than_the_limit_and_has_begun(
        int before, int size, bool cut)
    {
        var result = new TaskCompletionSource<(bool Cut, bool Cancelled)>();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                using var cancellation = new CancellationTokenSource();
                // Nobody reads: this is more than the kernel and the limit take.
                for (var i = 0; i < before; i++)
                {
                    client.Write(new byte[50_000]);
                    client.FlushWithoutWaiting();
                }

                client.Write(new byte[size]);
                var last = client.FlushAsync(cancellation.Token).AsTask();
                Assert.False(last.IsCompleted);
                var unsent = client.UnsentBytes;
                if (cut)
                    await Eventually.TrueAsync(() => client.UnsentBytes > 200_000 && client.BytesSent > 0);
                else
                    Assert.InRange(unsent, 0, before * 50_000);
                await cancellation.CancelAsync();
                var cancelled = false;
                try
                {
                    await last;
                }
                catch (OperationCanceledException)
                {
                    cancelled = true;
                }

                result.SetResult((client.IsCut, cancelled));
            },
            options => options with { MaxPendingBytes = 256 * 1024 });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        var (isCut, wasCancelled) = await result.Task.WaitAsync(TestClient.Patience);
        Assert.Equal(cut, isCut);
        Assert.True(wasCancelled);
    }

    [Fact]
    public async Task Client_that_was_reset_before_its_handoff_is_told_from_a_wrong_descriptor()
    {
        await using var server = await RunningServer.StartAsync(client => client.Ended.AsTask());
        var (browser, theirs) = TestClient.TcpPair();
        browser.LingerState = new LingerOption(true, 0);
        browser.Dispose();
        await Eventually.TrueAsync(() => theirs.Poll(0, SelectMode.SelectRead));

        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)theirs.Handle);

        await Eventually.TrueAsync(() => server.Rejections.Count == 1);
        Assert.Equal(HandoffRejection.ClientGone, server.Rejections[0]);
        theirs.Dispose();
    }

    [Fact]
    public async Task Random_lives_end_with_every_byte_in_its_place_and_nothing_left_open()
    {
        var before = OpenDescriptors.SocketsAndRings();
        await using (var server = await RunningServer.StartAsync(
            StreamAsAskedAsync,
            options => options with { RingEntries = 64, MaxPendingBytes = 8192 }))
        {
            var clients = Enumerable.Range(0, 40).Select(worker => Task.Run(async () =>
            {
                var own = new Random(worker);
                for (var i = 0; i < 50; i++)
                    await LiveAsync(server.SocketPath, own);
            }));
            await Task.WhenAll(clients).WaitAsync(TimeSpan.FromSeconds(60));
            await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
            Assert.Equal(2000, server.Server.Statistics.Started);
            Assert.Empty(server.Faults);
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    /// <summary>Sends the numbers from 0 as text; the handoff says how many, and whether to abort in the end.</summary>
    private static async Task StreamAsAskedAsync(ClientStream client)
    {
        var asked = Encoding.UTF8.GetString(client.HandoffData).Split(' ');
        for (var i = 0; i < int.Parse(asked[0], null); i++)
        {
            Encoding.UTF8.GetBytes($"{i},", client);
            if (i % 7 == 0 && !await client.FlushAsync())
                return;
        }

        if (asked[1] == "abort")
            client.Abort();
        else
            client.Complete();
    }

    private static async Task LiveAsync(string socketPath, Random random)
    {
        var count = random.Next(0, 5000);
        var abort = random.Next(4) == 0;
        var leaveAfter = random.Next(3) == 0 ? random.Next(0, 5000) : int.MaxValue;
        using var client = TestClient.HandOver(socketPath, $"{count} {(abort ? "abort" : "complete")}");
        var received = new MemoryStream();
        var buffer = new byte[random.Next(1, 3000)];
        using var timeout = new CancellationTokenSource(TestClient.Patience);
        while (received.Length < leaveAfter)
        {
            var read = await client.ReceiveAsync(buffer, timeout.Token);
            if (read == 0)
                break;
            received.Write(buffer, 0, read);
        }

        var expected = string.Concat(Enumerable.Range(0, count).Select(i => $"{i},"));
        var text = Encoding.UTF8.GetString(received.ToArray());
        if (abort || leaveAfter != int.MaxValue)
            Assert.StartsWith(text, expected, StringComparison.Ordinal);
        else
            Assert.Equal(expected, text);
    }
}
