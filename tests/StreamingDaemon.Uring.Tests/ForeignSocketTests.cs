using System.Net.Sockets;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Sockets come as others left them, and not always at all.</summary>
public sealed class ForeignSocketTests
{
    [Fact]
    public async Task Linger_that_a_client_was_opened_with_is_turned_off_so_that_no_close_waits_or_resets()
    {
        await using var server = await RunningServer.StartAsync(async client =>
        {
            "answer"u8.CopyTo(client.GetSpan(6));
            client.Advance(6);
            await client.FlushAsync();
            client.Complete();
        });
        var (browser, accepted) = TestClient.TcpPair();
        using var ours = accepted;
        using var theirs = browser;
        ours.LingerState = new LingerOption(true, 60);

        TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)ours.Handle);

        Assert.Equal("answer", await TestClient.ReadTextAsync(theirs));
        Assert.False(ours.LingerState!.Enabled);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Descriptor_that_is_denied_for_good_is_dropped_and_the_others_are_served(int type)
    {
        var denied = 5;
        await using var server = await RunningServer.StartAsync(
            client =>
            {
                client.Complete();
                return Task.CompletedTask;
            },
            options => options with
            {
                UseStreamSocket = type == Posix.SockStream,
                Budget = new DescriptorBudget(Limit: 1000, Own: 100, MaxConnections: 100, Refusals: 4, Handoffs: 4,
                    Wanted: 1000),
                // No room for control data: to the receiver that is a security module's denial.
                RingFault = (in EnterCall call) =>
                {
                    DenyDescriptors(call, () => Volatile.Read(ref denied) > 0);
                    return call.Proceed();
                },
            });

        var without = Enumerable.Range(0, 5).Select(_ => TestClient.HandOver(server.SocketPath, "{}", type)).ToList();
        foreach (var client in without)
            Assert.Empty(await TestClient.ReadToEndAsync(client));
        Volatile.Write(ref denied, 0);
        using var served = TestClient.HandOver(server.SocketPath, "{}", type);
        Assert.Empty(await TestClient.ReadToEndAsync(served));

        await Eventually.TrueAsync(() => server.Server.Statistics.Started == 1);
        // The handler is told of them on the thread pool.
        await Eventually.TrueAsync(() =>
        {
            lock (server.Rejections)
                return server.Rejections.Count == without.Count;
        });
        lock (server.Rejections)
            Assert.Equal(Enumerable.Repeat(HandoffRejection.DescriptorsTruncated, 5), server.Rejections);
        server.Server.BeginDrain();
        await server.Server.Completion.WaitAsync(TestClient.Patience);
        without.ForEach(client => client.Dispose());
    }

    private static unsafe void DenyDescriptors(in EnterCall call, Func<bool> denies)
    {
        for (var i = 0; i < call.SubmissionCount; i++)
        {
            ref var entry = ref call.Submission(i);
            if (entry.Opcode == IoUringConstants.OpRecvMsg && denies())
                ((MessageHeader*)entry.Address)->ControlLength = 0;
        }
    }
}
