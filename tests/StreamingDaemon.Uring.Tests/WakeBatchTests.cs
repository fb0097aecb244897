using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class WakeBatchTests
{
    private const int Clients = 20;

    /// <summary>For what must not happen: much longer than a loop that was woken takes.</summary>
    private const int LongMs = 200;

    [Theory]
    [InlineData(1, false)]
    [InlineData(2, false)]
    [InlineData(1, true)]
    public async Task What_a_burst_flushes_wakes_the_loops_at_its_end_of_nested_ones_at_the_outermosts(
        int rings, bool nests)
    {
        var streams = new List<ClientStream>();
        await using var server = await RunningServer.StartAsync(client => Keep(streams, client),
            options => options with { Rings = rings });
        var sockets = await ConnectAsync(server, streams);

        var sentBefore = await OnOneThread(() =>
        {
            WakeBatch.Begin();
            if (nests)
                WakeBatch.Begin();
            FlushAll(streams);
            if (nests)
                WakeBatch.End();
            var sent = SpinWait.SpinUntil(() => server.Server.Statistics.BytesSent > 0, LongMs);
            WakeBatch.End();
            return sent;
        });

        Assert.False(sentBefore);
        await AssertAllReadAsync(sockets);
    }

    [Fact]
    public async Task Thread_without_a_burst_wakes_the_loop_for_itself_and_for_the_burst()
    {
        var streams = new List<ClientStream>();
        await using var server = await RunningServer.StartAsync(client => Keep(streams, client));
        var sockets = await ConnectAsync(server, streams);
        using var flushed = new ManualResetEventSlim();
        using var ended = new ManualResetEventSlim();
        var burst = OnOneThread(() =>
        {
            WakeBatch.Begin();
            FlushAll(streams[1..]);
            flushed.Set();
            ended.Wait(TestClient.Patience);
            WakeBatch.End();
            return true;
        });
        flushed.Wait(TestClient.Patience);

        FlushAll(streams[..1]);

        await AssertAllReadAsync(sockets);
        ended.Set();
        Assert.True(await burst);
    }

    [Fact]
    public async Task Bursts_that_end_later_wake_the_loop_by_themselves()
    {
        var streams = new List<ClientStream>();
        await using var server = await RunningServer.StartAsync(client => Keep(streams, client));
        var sockets = await ConnectAsync(server, streams);

        // From several threads, each time with the loop asleep or not, as it comes.
        await Task.WhenAll(streams.Chunk(5).Select(some => Task.Run(() =>
        {
            foreach (var stream in some)
            {
                WakeBatch.Begin();
                FlushAll([stream]);
                WakeBatch.EndLater();
            }
        })));

        await AssertAllReadAsync(sockets);
    }

    [Fact]
    public async Task Bursts_that_end_later_do_not_wait_for_a_pool_whose_threads_all_block()
    {
        var streams = new List<ClientStream>();
        await using var server = await RunningServer.StartAsync(client => Keep(streams, client));
        var sockets = await ConnectAsync(server, streams);
        using var freed = new ManualResetEventSlim();
        var blocked = Enumerable.Range(0, 200).Select(_ => Task.Run(freed.Wait)).ToArray();
        // The pool adds a thread or two a second, which is too late for any of this.
        var sent = await OnOneThread(() =>
        {
            try
            {
                foreach (var stream in streams)
                {
                    WakeBatch.Begin();
                    FlushAll([stream]);
                    WakeBatch.EndLater();
                }

                return SpinWait.SpinUntil(
                    () => server.Server.Statistics.BytesSent > 0, TestClient.Patience);
            }
            finally
            {
                freed.Set();
            }
        });

        Assert.True(sent);
        await Task.WhenAll(blocked);
        await AssertAllReadAsync(sockets);
    }

    private static async Task Keep(List<ClientStream> streams, ClientStream client)
    {
        lock (streams)
            streams.Add(client);
        await client.Ended;
    }

    private static async Task<List<Socket>> ConnectAsync(RunningServer server, List<ClientStream> streams)
    {
        var sockets = Enumerable.Range(0, Clients)
            .Select(_ => TestClient.HandOver(server.SocketPath, "{}")).ToList();
        await Eventually.TrueAsync(() =>
        {
            lock (streams)
                return streams.Count == Clients;
        });
        // All that had to be done for them is done: the loops sleep.
        var turns = -1L;
        await Eventually.TrueAsync(() => turns == (turns = server.Server.Statistics.Turns));
        return sockets;
    }

    private static void FlushAll(List<ClientStream> streams)
    {
        foreach (var stream in streams)
        {
            Encoding.UTF8.GetBytes("token", stream);
            stream.FlushWithoutWaiting();
        }
    }

    private static async Task AssertAllReadAsync(List<Socket> sockets)
    {
        foreach (var socket in sockets)
        {
            var bytes = new byte[16];
            using var patience = new CancellationTokenSource(TestClient.Patience);
            var read = await socket.ReceiveAsync(bytes, patience.Token);
            Assert.Equal("token", Encoding.UTF8.GetString(bytes, 0, read));
            socket.Dispose();
        }
    }

    private static Task<T> OnOneThread<T>(Func<T> action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
}
