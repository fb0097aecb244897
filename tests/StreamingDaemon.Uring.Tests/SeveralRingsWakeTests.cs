using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>What other loops do in the moment before the one that accepts goes to sleep.</summary>
public sealed class SeveralRingsWakeTests
{
    /// <summary>Areas that the pool of handoffs maps at once: one handoff more asks for memory anew, which is where
    /// this test can hold the loop.</summary>
    private const int AreasOfOneMapping = 64;

    [Fact]
    public async Task Place_given_back_just_before_the_accepting_loop_sleeps_serves_who_waits()
    {
        var streams = new List<ClientStream>();
        var (asked, holds, wasHeld) = (0, false, false);
        RunningServer? server = null;
        List<Socket> clients = [];
        await using var running = server = await RunningServer.StartAsync(
            async client =>
            {
                lock (streams)
                    streams.Add(client);
                await client.WriteAndFlushAsync("begun"u8.ToArray());
                await client.Ended;
            },
            options => options with
            {
                Rings = 2,
                // So that one accept takes whoever comes.
                Backlog = 64,
                Budget = new(1_000_000, 100, MaxConnections: 4, Refusals: 1, Handoffs: 200, 1_000_000),
                // The wheel of timers turns in 16 s, and whatever is in it wakes the loop once a turn: soon for what
                // watches a send, and late for these.
                WriteTimeoutMs = 40,
                HandoffTimeoutMs = 622_000,
                MayMapHandoffs = () =>
                {
                    if (asked++ == 0)
                        return true;
                    if (!Volatile.Read(ref holds))
                        return false;
                    LeaveTheOtherLoop(server!, clients[1], streams[3]);
                    // With what it asks for there is nothing to wake up for by itself.
                    return wasHeld = true;
                },
            });
        // Two on each loop, and one that is refused: no place is left.
        for (var i = 0; i < 5; i++)
        {
            clients.Add(TestClient.HandOver(server.SocketPath, "{}"));
            await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == (i + 1) * 5);
        }

        var silent = Enumerable.Range(0, AreasOfOneMapping)
            .Select(_ => Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket)).ToList();
        await Eventually.TrueAsync(() => server.Server.Statistics.Accepted == 5 + AreasOfOneMapping);
        var more = Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket);
        await Eventually.TrueAsync(() => Volatile.Read(ref asked) > 1);
        // The first that waits for a place; the loop looks for one, asks for memory for the other, and
        // sleeps.
        var (browser, theirs) = Posix.SocketPair();
        using var waiting = Posix.ToSocket(browser);
        Posix.SendDescriptors(silent[0], "{}"u8, theirs);
        Posix.Close(theirs);
        for (var i = 0; i < 3; i++)
            Assert.True(await server.Server.IsTurningAsync(TestClient.Patience));
        Volatile.Write(ref holds, true);

        // Sooner than the wheel of timers would make it turn.
        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 6, TimeSpan.FromSeconds(5));
        Assert.True(wasHeld);
        Assert.Equal("begun", await TestClient.ReadUntilAsync(waiting, "begun"));
        silent.ForEach(fd => Posix.Close(fd));
        Posix.Close(more);
        clients.ForEach(c => c.Dispose());
    }

    /// <summary>A client of the second loop leaves, and that loop has done all that follows from it: it has sent
    /// another one's bytes since. On the thread of the first loop, which looks for a place before, and sleeps
    /// after.</summary>
    private static void LeaveTheOtherLoop(RunningServer server, Socket leaving, ClientStream another)
    {
        leaving.Dispose();
        Assert.True(SpinWait.SpinUntil(() => server.Server.Statistics.ActiveConnections == 3, TestClient.Patience));
        var sent = server.Server.Statistics.BytesSent;
        var flush = another.WriteAndFlushAsync(Encoding.UTF8.GetBytes("x"));
        Assert.True(flush.IsCompleted);
        Assert.True(SpinWait.SpinUntil(() => server.Server.Statistics.BytesSent > sent, TestClient.Patience));
    }
}
