using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>A socket that is ready all the time although there is nothing to do: the loop must not spin.</summary>
public sealed class ReadinessTests
{
    /// <summary>Spinning makes thousands of calls in the time that these tests take.</summary>
    private const int Few = 100;

    private const int TimeoutMs = 500;

    [Fact]
    public async Task Socket_whose_error_queue_nobody_empties_costs_few_reads_after_the_end()
    {
        const int SolSocket = 1, SoTimestamping = 37;
        const int StampOfAck = 0x200 | 0x10; // SOF_TIMESTAMPING_TX_ACK, _SOFTWARE
        var answer = new string('a', 8 * 1024);
        long reads = 0;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                Encoding.UTF8.GetBytes(answer, client);
                await client.FlushAsync();
                client.Complete();
            },
            options => options with
            {
                LingerTimeoutMs = TimeoutMs,
                CallFault = (in ClientCall call) =>
                {
                    if (call.Kind == OperationKind.ClientRead)
                        Interlocked.Increment(ref reads);
                    return call.Proceed();
                },
            });
        var (browser, ours) = PairWithSmallWindow();
        using (browser)
        using (ours)
        {
            ours.SetRawSocketOption(SolSocket, SoTimestamping, BitConverter.GetBytes(StampOfAck));
            TestClient.HandOverDescriptor(server.SocketPath, "{}"u8, (int)ours.Handle);
            // All is sent, and not yet acknowledged: the answer does not fit into the window.
            await Eventually.TrueAsync(() => server.Server.Statistics.BytesSent == answer.Length);

            // Now it is acknowledged. That goes into the error queue of the socket, which ours holds too.
            Assert.Equal(answer, await TestClient.ReadTextAsync(browser));
            Assert.True(ours.Poll(TestClient.Patience, SelectMode.SelectError));
            await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        }

        Assert.InRange(Interlocked.Read(ref reads), 0, Few);
    }

    [Fact]
    public async Task Socket_that_reports_room_and_takes_nothing_costs_few_sends_and_ends_as_slow()
    {
        long sends = 0;
        var end = new TaskCompletionSource<ClientEnd>();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                Encoding.UTF8.GetBytes("hello", client);
                await client.FlushAsync();
                end.SetResult(await client.Ended);
            },
            options => options with
            {
                WriteTimeoutMs = TimeoutMs,
                CallFault = (in ClientCall call) =>
                {
                    if (call.Kind != OperationKind.ClientSend)
                        return call.Proceed();
                    Interlocked.Increment(ref sends);
                    return -Errno.Again;
                },
            });
        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal(ClientEnd.SlowClient, await end.Task.WaitAsync(TestClient.Patience));
        Assert.InRange(Interlocked.Read(ref sends), 2, Few * 10);
    }

    private static (Socket Browser, Socket Ours) PairWithSmallWindow()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        var browser = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        { ReceiveBufferSize = 2048 };
        browser.Connect(listener.LocalEndPoint!);
        return (browser, listener.Accept());
    }
}
