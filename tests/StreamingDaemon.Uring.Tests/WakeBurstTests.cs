using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class WakeBurstTests
{
    private const int Clients = 20;

    /// <summary>For what must not happen: much longer than a loop that was woken takes.</summary>
    private const int LongMs = 200;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task What_a_burst_flushes_wakes_the_loops_at_its_end(int rings)
    {
        var streams = new List<ClientStream>();
        await using var server = await RunningServer.StartAsync(client => Keep(streams, client),
            options => options with { Rings = rings });
        var sockets = await ConnectAsync(server, streams);

        var sentBefore = await OnOneThread(() =>
        {
            WakeBurst.Begin();
            FlushAll(streams);
            var sent = SpinWait.SpinUntil(() => server.Server.Statistics.BytesSent > 0, LongMs);
            WakeBurst.End();
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
            WakeBurst.Begin();
            FlushAll(streams[1..]);
            flushed.Set();
            ended.Wait(Testing.Clients.Patience);
            WakeBurst.End();
            return true;
        });
        flushed.Wait(Testing.Clients.Patience);

        FlushAll(streams[..1]);

        await AssertAllReadAsync(sockets);
        ended.Set();
        Assert.True(await burst);
    }

    [Fact]
    public async Task Bursts_of_a_thread_do_not_nest_and_one_that_flushed_nothing_is_none()
    {
        var (second, ended) = await OnOneThread(() =>
        {
            WakeBurst.Begin();
            var second = Record.Exception(WakeBurst.Begin);
            WakeBurst.End();
            return (second, Record.Exception(WakeBurst.End));
        });

        Assert.IsType<InvalidOperationException>(second);
        Assert.Null(ended);
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
            .Select(_ => Testing.Clients.HandOver(server.SocketPath, "{}")).ToList();
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
            using var patience = new CancellationTokenSource(Testing.Clients.Patience);
            var read = await socket.ReceiveAsync(bytes, patience.Token);
            Assert.Equal("token", Encoding.UTF8.GetString(bytes, 0, read));
            socket.Dispose();
        }
    }

    private static Task<T> OnOneThread<T>(Func<T> action) =>
        Task.Factory.StartNew(action, CancellationToken.None, TaskCreationOptions.LongRunning,
            TaskScheduler.Default);
}
