using System.Diagnostics;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Calls on a client's socket that wait for nothing and compute: in a network namespace of its own, a
/// peer can have each packet filtered by thousands of programs, in the thread that sends it.</summary>
public sealed class CostlyCallTests
{
    private const int Events = 300;

    /// <summary>Three looks, 20 ms apart, of calls that last as long, and many that are late on a crowded
    /// machine.</summary>
    private const int MostByLoop = 100;

    [Fact]
    public async Task Calls_that_compute_for_long_are_left_to_the_kernels_workers()
    {
        var byLoop = 0;
        await using var server = await RunningServer.StartAsync(
            SayAllAsync,
            options => options with
            {
                CallFault = (in ClientCall call) =>
                {
                    if (call.Kind == OperationKind.ClientSend)
                    {
                        byLoop++;
                        Compute(TimeSpan.FromMilliseconds(20));
                    }

                    return call.Proceed();
                },
            });
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal(string.Concat(Enumerable.Range(0, Events)), await TestClient.ReadTextAsync(client));
        Assert.InRange(byLoop, 1, MostByLoop);
    }

    [Fact]
    public async Task Loop_goes_on_on_another_thread_while_one_call_computes()
    {
        var release = false;
        var isFirst = true;
        await using var server = await RunningServer.StartAsync(
            SayAllAsync,
            options => options with
            {
                CallFault = (in ClientCall call) =>
                {
                    if (isFirst)
                    {
                        isFirst = false;
                        var longest = Stopwatch.StartNew();
                        while (!Volatile.Read(ref release) && longest.Elapsed < TestClient.Patience)
                            Thread.SpinWait(100);
                    }

                    return call.Proceed();
                },
            });
        using var victim = TestClient.HandOverTcp(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => !Volatile.Read(ref isFirst));

        using var other = TestClient.HandOverTcp(server.SocketPath, "{}");
        Assert.EndsWith($"{Events - 1}", await TestClient.ReadTextAsync(other), StringComparison.Ordinal);

        Assert.Equal(1, server.Server.Statistics.HungCalls.Now);
        Volatile.Write(ref release, true);
        Assert.EndsWith($"{Events - 1}", await TestClient.ReadTextAsync(victim), StringComparison.Ordinal);
    }

    private static void Compute(TimeSpan time)
    {
        var spent = Stopwatch.StartNew();
        while (spent.Elapsed < time)
            Thread.SpinWait(100);
    }

    /// <summary>Each in a send of its own.</summary>
    private static async Task SayAllAsync(ClientStream client)
    {
        for (var i = 0; i < Events; i++)
        {
            Encoding.UTF8.GetBytes($"{i}", client);
            await client.FlushAsync();
            await Task.Delay(10);
        }

        client.Complete();
    }
}
