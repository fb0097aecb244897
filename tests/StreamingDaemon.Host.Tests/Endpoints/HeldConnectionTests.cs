using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Host.Endpoints;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Endpoints;

public sealed class HeldConnectionTests
{
    private const int Looks = 1_000;
    private const int NowMs = 10_000;

    private readonly byte[] _room = new byte[HeldConnection.MaxHeadBytes];
    private readonly PollSet _poll = new(1);

    [Theory]
    [InlineData("GET /hea", "x", "")]
    [InlineData("GET /hea", "x", "lth HTTP/1.1\r\n\r\n")]
    [InlineData("GET /hea", "", "")]
    public async Task Half_a_head_with_an_urgent_byte_does_not_keep_the_gate_awake(
        string first, string urgent, string rest)
    {
        var (client, socket) = Connect();
        using var clientOwner = client;
        using var held = new HeldConnection(socket, 0, NowMs);
        client.Send(System.Text.Encoding.ASCII.GetBytes(first));
        if (urgent.Length > 0)
            client.Send(System.Text.Encoding.ASCII.GetBytes(urgent), SocketFlags.OutOfBand);
        client.Send(System.Text.Encoding.ASCII.GetBytes(rest));
        await Eventually.TrueAsync(() => socket.Available >= first.Length);

        var reports = 0;
        for (var i = 0; i < Looks; i++)
            reports += Look(held, NowMs) ? 1 : 0;

        Assert.InRange(reports, 1, 3);
        Assert.False(held.IsClosed);
    }

    [Fact]
    public async Task Head_that_goes_on_after_a_pause_is_seen_whole()
    {
        var (client, socket) = Connect();
        using var clientOwner = client;
        using var held = new HeldConnection(socket, 0, NowMs);
        client.Send("GET / HTTP/1.1\r\n"u8);
        client.Send("x"u8, SocketFlags.OutOfBand);
        await Eventually.TrueAsync(() => socket.Available > 0);
        for (var i = 0; i < Looks; i++)
            _ = Look(held, NowMs);
        Assert.False(held.IsWhole);

        // Who takes the urgent byte makes the rest visible.
        _ = socket.Receive(_room, SocketFlags.OutOfBand);
        _ = socket.Receive(_room);
        client.Send("GET / HTTP/1.1\r\n\r\n"u8);
        await Eventually.TrueAsync(() =>
        {
            _ = Look(held, held.DueMs);
            return held.IsWhole;
        });
    }

    /// <returns>Did poll(2) report anything?</returns>
    private bool Look(HeldConnection held, long nowMs)
    {
        _poll.Clear();
        _poll.Add(held.Socket, held.Events);
        _poll.Wait(0);
        held.Look(_poll.Result(0), _room, nowMs);
        return _poll.Result(0) != 0;
    }

    private static (Socket Client, Socket Held) Connect()
    {
        using var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        listener.Listen(1);
        var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        client.Connect(listener.LocalEndPoint!);
        var held = listener.Accept();
        held.Blocking = false;
        return (client, held);
    }
}
