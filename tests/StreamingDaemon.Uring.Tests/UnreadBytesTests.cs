using System.Net.Sockets;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>What clients leave unread takes memory of this process, so it has a bound.</summary>
public sealed class UnreadBytesTests
{
    private static readonly byte[] s_answer = new byte[1_000_000];

    /// <summary>The kernel counts them for the sender: 208 KiB a client by default, or megabytes if another
    /// holder of the socket asks for them.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Unix_client_that_reads_nothing_leaves_few_bytes_in_the_kernel(bool isRaised)
    {
        var isReady = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var end = new TaskCompletionSource<(ClientEnd, long)>();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await isReady.Task;
                await client.WriteAndFlushAsync(s_answer);
                end.SetResult((await client.Ended, client.BytesSent));
            },
            options => options with { WriteTimeoutMs = 300 });
        var (left, right) = Posix.SocketPair();
        using var browser = Posix.ToSocket(left);
        using var ours = Posix.ToSocket(right);
        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, right);
        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 1);
        if (isRaised)
            ours.SendBufferSize = 4 << 20;
        isReady.SetResult();

        var (how, sent) = await end.Task.WaitAsync(TestClient.Patience);

        Assert.Equal(ClientEnd.SlowClient, how);
        Assert.InRange(sent, 1, ClientConnection.MostInKernel);
    }

    [Fact]
    public async Task Client_that_is_behind_ends_if_memory_is_exceeded_and_one_that_reads_goes_on()
    {
        var memory = new MemoryBudget(16 << 20, 0);
        var end = new TaskCompletionSource<ClientEnd>();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await client.WriteAndFlushAsync(s_answer);
                if (client.HandoffData.Length > 2)
                    end.SetResult(await client.Ended);
                else
                    client.Complete();
            },
            options => options with { Memory = memory, WriteTimeoutMs = 1_000_000 });
        using var behind = TestClient.HandOver(server.SocketPath, "{ }");
        await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent > 0);
        using var reads = TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 2);

        memory.Hold(32 << 20);

        Assert.Equal(s_answer.Length, (await TestClient.ReadToEndAsync(reads)).Length);
        Assert.Equal(ClientEnd.SlowClient, await end.Task.WaitAsync(TestClient.Patience));
        memory.Return(32 << 20);
    }
}
