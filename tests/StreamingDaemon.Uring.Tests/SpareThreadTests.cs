using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Calls that hang after the system has given its last thread.</summary>
public sealed class SpareThreadTests
{
    private readonly SemaphoreSlim _hold = new(0);

    /// <summary>1 if the next send is to hang until it is released.</summary>
    private int _mayHang;

    private bool _givesThreads = true;

    [Fact]
    public async Task Hangs_one_after_the_other_without_a_free_thread_hold_up_no_other_stream()
    {
        await using var server = await StartWithoutThreadsAsync();

        // More than there are spares: each thread that returns becomes one.
        for (var round = 1; round <= 2 * SpareThreads.Count; round++)
        {
            Volatile.Write(ref _mayHang, 1);
            using var victim = TestClient.HandOverTcp(server.SocketPath, "victim");
            await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls == new HungThreads(1, round));
            await AskOthersAsync(server);
            _hold.Release();
            Assert.Equal("victim, whole", await TestClient.ReadTextAsync(victim));
            await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls.Now == 0);
        }
    }

    [Fact]
    public async Task Hangs_at_a_time_without_a_free_thread_hold_up_no_other_stream_up_to_the_spares()
    {
        await using var server = await StartWithoutThreadsAsync();
        var victims = new List<System.Net.Sockets.Socket>();
        for (var held = 1; held <= SpareThreads.Count; held++)
        {
            Volatile.Write(ref _mayHang, 1);
            victims.Add(TestClient.HandOverTcp(server.SocketPath, "victim"));
            await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls == new HungThreads(held, held));
            await AskOthersAsync(server);
        }

        _hold.Release(SpareThreads.Count);

        foreach (var victim in victims)
        {
            Assert.Equal("victim, whole", await TestClient.ReadTextAsync(victim));
            victim.Dispose();
        }

        await AskOthersAsync(server);
    }

    private async Task<RunningServer> StartWithoutThreadsAsync()
    {
        var server = await RunningServer.StartAsync(AnswerAsync, options => options with
        {
            MayStartThread = _ => Volatile.Read(ref _givesThreads),
            CallFault = (in call) =>
            {
                if (call.Kind == OperationKind.ClientSend && Interlocked.Exchange(ref _mayHang, 0) == 1)
                    _hold.Wait();
                return call.Proceed();
            },
        });
        Volatile.Write(ref _givesThreads, false);
        return server;
    }

    private static async Task AskOthersAsync(RunningServer server)
    {
        for (var i = 0; i < 5; i++)
        {
            using var other = TestClient.HandOverTcp(server.SocketPath, $"other {i}");
            Assert.Equal($"other {i}, whole", await TestClient.ReadTextAsync(other));
        }
    }

    private static async Task AnswerAsync(ClientStream client)
    {
        var data = Encoding.UTF8.GetString(client.HandoffData);
        Encoding.UTF8.GetBytes($"{data}, whole", client);
        await client.FlushAsync();
        client.Complete();
    }
}
