using System.Diagnostics;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>One call may compute for a second. Clients whose calls are known to be quick do not wait for it, not
/// even in the same network namespace.</summary>
public sealed class QuickCallTests
{
    private static readonly TimeSpan s_cost = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan s_costByLoop = TimeSpan.FromMilliseconds(30);

    [Fact]
    public async Task Client_whose_calls_are_quick_waits_for_few_calls_that_compute()
    {
        const int Costly = 3;
        const int Innocent = 3;
        const int CallsUntilKnown = 3;
        const int EnoughCalls = 9;
        var (quick, made) = (new HashSet<int>(), 0);
        await using var server = await RunningServer.StartAsync(
            SayOnAsync,
            options => options with
            {
                MostCostMs = int.MaxValue,
                CallFault = (in ClientCall call) =>
                {
                    lock (quick)
                    {
                        // The first clients are the innocent ones.
                        if (quick.Count < Innocent)
                            quick.Add(call.Fd);
                    }

                    return Make(call, quick, s_costByLoop);
                },
                CostlyCallFault = (in ClientCall call) => Make(call, quick, s_cost, () => made++),
            });
        var innocent = Enumerable.Range(0, Innocent)
            .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();
        foreach (var client in innocent)
            _ = await TestClient.ReadUntilAsync(client, "x");
        using var first = TestClient.HandOverTcp(server.SocketPath, "{}");
        // The innocent share the costly namespace. So they count as quick only when a quick call of each has been
        // measured.
        await Eventually.TrueAsync(() => Volatile.Read(ref made) >= CallsUntilKnown);
        var costly = Enumerable.Range(0, Costly)
            .Select(_ => TestClient.HandOverTcp(server.SocketPath, "{}")).ToArray();

        var gaps = await Task.WhenAll(innocent.Select(client => LongGapsAsync(
            client, () => Volatile.Read(ref made) > EnoughCalls)));

        // A costly call may be under way when the measurement begins.
        Assert.All(gaps, each => Assert.True(each.Count <= 1, string.Join(' ', each)));
        Assert.All(gaps.SelectMany(each => each), gap => Assert.InRange(gap, TimeSpan.Zero, s_cost * 1.5));
        foreach (var client in innocent.Concat(costly))
            client.Dispose();
    }

    private static int Make(in ClientCall call, HashSet<int> quick, TimeSpan cost, Action? begun = null)
    {
        bool isQuick;
        lock (quick)
            isQuick = quick.Contains(call.Fd);
        if (isQuick || call.Kind != OperationKind.ClientSend)
            return call.Proceed();
        begun?.Invoke();
        var spent = Stopwatch.StartNew();
        while (spent.Elapsed < cost)
            Thread.SpinWait(100);
        return call.Proceed();
    }

    private static async Task<List<TimeSpan>> LongGapsAsync(Socket client, Func<bool> isEnough)
    {
        var (buffer, gaps, last) = (new byte[1024], new List<TimeSpan>(), Stopwatch.GetTimestamp());
        while (!isEnough())
        {
            Assert.NotEqual(0, await client.ReceiveAsync(buffer).WaitAsync(TestClient.Patience));
            var gap = Stopwatch.GetElapsedTime(last);
            if (gap > s_cost / 2)
                gaps.Add(gap);
            last = Stopwatch.GetTimestamp();
        }

        return gaps;
    }

    /// <summary>Sends single bytes, each in its own call, until the client leaves.</summary>
    private static async Task SayOnAsync(ClientStream client)
    {
        while (!client.Ended.IsCompleted)
        {
            Encoding.UTF8.GetBytes("x", client);
            await client.FlushAsync();
            await Task.Delay(10);
        }
    }
}
