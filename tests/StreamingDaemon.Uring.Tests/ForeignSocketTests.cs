using System.Net.Sockets;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;
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

    [Fact]
    public async Task Descriptor_that_a_Unix_client_sends_is_not_released_by_the_loop()
    {
        var goOn = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await RunningServer.StartAsync(async client =>
        {
            if (client.HandoffData.Length > 2)
                await goOn.Task;
            client.Complete();
        });
        using var lingering = new LingeringSocket();
        var (left, right) = Posix.SocketPair();
        using var browser = Posix.ToSocket(left);
        TestClient.HandOverDescriptor(server.SocketPath, "{ }"u8, right);
        _ = Posix.Close(right);
        _ = Posix.SendDescriptors(left, "x"u8, lingering.Fd);
        lingering.CloseHere();

        goOn.SetResult();
        Assert.Empty(await TestClient.ReadToEndAsync(browser));
        for (var i = 0; i < 10; i++)
            await AssertServedAsync(server, Posix.SockSeqPacket);
        browser.Dispose();
        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);

        Assert.Equal(0, server.Server.Statistics.HungCalls.Ever);
    }

    [Fact]
    public async Task Descriptor_of_an_urgent_byte_is_not_released_by_the_loop()
    {
        await using var server = await RunningServer.StartAsync(
            client =>
            {
                client.Complete();
                return Task.CompletedTask;
            },
            options => options with { UseStreamSocket = true });
        using var lingering = new LingeringSocket();
        var (left, right) = Posix.SocketPair();
        using var browser = Posix.ToSocket(left);
        var connection = Posix.ConnectUnix(server.SocketPath, Posix.SockStream);
        _ = Posix.SendDescriptors(connection, "{"u8, right);
        _ = Posix.Close(right);
        _ = Posix.SendUrgentDescriptors(connection, (byte)' ', lingering.Fd);
        lingering.CloseHere();
        _ = Posix.SendDescriptors(connection, "}"u8);

        Assert.Empty(await TestClient.ReadToEndAsync(browser));
        await AssertServedAsync(server, Posix.SockStream);
        _ = Posix.Close(connection);
    }

    private static async Task AssertServedAsync(RunningServer server, int type)
    {
        using var other = TestClient.HandOver(server.SocketPath, "{}", type);
        Assert.Empty(await TestClient.ReadToEndAsync(other));
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
