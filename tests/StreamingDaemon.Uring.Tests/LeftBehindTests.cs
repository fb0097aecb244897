using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>After thousands of streams that end in every way there is: nothing is held that was not at the
/// start.</summary>
public sealed class LeftBehindTests
{
    private const int Streams = 4_000;
    private const int AtOnce = 40;

    private enum Fate
    {
        Completed,
        CompletedLarge,
        Aborted,
        Failed,
        CancelledInAFlush,
        LeavesAtOnce,
        LeavesInTheMiddle,
        Resets,
        NeverReads,
        NoDescriptor,
        SilentPeer,
    }

    [Trait("Takes", "Long")]
    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Streams_of_mixed_fate_leave_no_descriptor_slot_buffer_or_handler_behind(int rings)
    {
        await using var server = await RunningServer.StartAsync(HandleAsync, options => options with
        {
            Rings = rings,
            MaxPendingBytes = 20_000,
            HandoffTimeoutMs = 100,
            WriteTimeoutMs = 200,
            LingerTimeoutMs = 50,
            KeepAlive = ": x\n\n"u8.ToArray(),
            KeepAliveIntervalMs = 20,
        });
        var (buffers, sockets) = (server.Server.RentedBuffers, OpenDescriptors.SocketsAndRings());

        var fates = new int[Enum.GetValues<Fate>().Length];
        await Task.WhenAll(Enumerable.Range(0, AtOnce).Select(player => Task.Run(async () =>
        {
            var random = new Random(player);
            for (var i = 0; i < Streams / AtOnce; i++)
            {
                var fate = (Fate)random.Next(fates.Length);
                Interlocked.Increment(ref fates[(int)fate]);
                await PlayAsync(server.SocketPath, fate);
            }
        })));

        Assert.All(fates, count => Assert.True(count > Streams / fates.Length / 2));
        var statistics = server.Server.Statistics;
        await Eventually.TrueAsync(() => statistics.Started + statistics.Rejected == Streams);
        await Eventually.TrueAsync(() => statistics.ActiveConnections == 0 && server.Server.Loads.Sum() == 0);
        Assert.True(await server.Server.HandlersEndedAsync(TestClient.Patience));
        await Eventually.TrueAsync(() => server.Server.RentedBuffers == buffers);
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= sockets);
        Assert.All(server.Faults, fault => Assert.True(
            fault is OperationCanceledException or InvalidOperationException { Message: "as told" }, fault.ToString()));
        var rejections = server.Rejections.CountBy(rejection => rejection).ToDictionary();
        Assert.Equal($"{fates[(int)Fate.NoDescriptor] + fates[(int)Fate.SilentPeer]}",
            $"{rejections.Values.Sum()}{(rejections.Count > 2 ? " of " + string.Join(", ", rejections) : "")}");
    }

    private static async Task HandleAsync(ClientStream client)
    {
        var fate = Enum.Parse<Fate>(Encoding.UTF8.GetString(client.HandoffData));
        client.BeginKeepAlive();
        Encoding.UTF8.GetBytes("begun ", client);
        if (!await client.FlushAsync())
            return;
        switch (fate)
        {
            case Fate.Completed:
                client.Complete();
                break;
            case Fate.CompletedLarge:
                Encoding.UTF8.GetBytes(new string('x', 100_000), client);
                if (await client.FlushAsync())
                    client.Complete();
                break;
            case Fate.Aborted:
                client.Abort();
                break;
            case Fate.Failed:
                throw new InvalidOperationException("as told");
            case Fate.CancelledInAFlush:
                using (var cancellation = new CancellationTokenSource(5))
                {
                    Encoding.UTF8.GetBytes(new string('x', 4_000_000), client);
                    await client.FlushAsync(cancellation.Token);
                }

                break;
            case Fate.NeverReads:
                while (true)
                {
                    Encoding.UTF8.GetBytes(new string('x', 10_000), client);
                    if (!await client.FlushAsync(client.Cancelled))
                        return;
                }

            default:
                await client.Ended;
                break;
        }
    }

    private static async Task PlayAsync(string socketPath, Fate fate)
    {
        if (fate is Fate.NoDescriptor or Fate.SilentPeer)
        {
            using var peer = Posix.ToSocket(Posix.ConnectUnix(socketPath, Posix.SockSeqPacket));
            if (fate == Fate.NoDescriptor)
                _ = Posix.SendDescriptors((int)peer.Handle, "{}"u8);
            // Until the server has closed its end.
            _ = await ReadAsync(peer);
            return;
        }

        using var client = fate == Fate.Resets
            ? TestClient.HandOverTcp(socketPath, $"{fate}") : TestClient.HandOver(socketPath, $"{fate}");
        switch (fate)
        {
            case Fate.LeavesAtOnce:
                break;
            case Fate.LeavesInTheMiddle:
                _ = await client.ReceiveAsync(new byte[3], CancellationToken.None).AsTask().WaitAsync(TestClient.Patience);
                break;
            case Fate.Resets:
                _ = await client.ReceiveAsync(new byte[3], CancellationToken.None).AsTask().WaitAsync(TestClient.Patience);
                client.LingerState = new LingerOption(true, 0);
                break;
            case Fate.NeverReads:
                await Eventually.TrueAsync(() => HasClosed(client));
                break;
            default:
                var read = await ReadAsync(client);
                if (fate is Fate.Completed)
                    Assert.StartsWith("begun ", read, StringComparison.Ordinal);
                else if (fate is Fate.CompletedLarge)
                    Assert.Equal(100_000, read.Count(c => c == 'x') - (read.Split(": x\n\n").Length - 1));
                break;
        }
    }

    /// <summary>The other side has closed; what it sent stays unread.</summary>
    private static bool HasClosed(Socket client)
    {
        try
        {
            _ = client.Send([0]);
            return false;
        }
        catch (SocketException)
        {
            return true;
        }
    }

    private static async Task<string> ReadAsync(Socket socket)
    {
        try
        {
            return await TestClient.ReadTextAsync(socket);
        }
        catch (SocketException)
        {
            // A reset: what was unread at the end.
            return "";
        }
    }
}
