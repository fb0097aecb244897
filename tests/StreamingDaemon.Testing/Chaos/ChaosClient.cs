using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>How a browser behaves, or the peer that hands it over.</summary>
public enum ClientFate
{
    ReadsAll,
    ReadsSlowly,
    SendsMore,
    LeavesAtOnce,
    LeavesAfterTheHead,
    ResetsInTheMiddle,
    HalfCloses,
    NeverReads,
    NoDescriptor,
    PipeForASocket,
    ListeningSocket,
    MalformedData,
    EmptyData,
    SeveralDescriptors,
    SilentPeer,
    PeerThatLeaves,
}

/// <summary>One handoff and its result on the browser's side.</summary>
/// <param name="Fate">How the client behaved.</param>
/// <param name="Complaint">What was wrong with its answer, or null.</param>
public sealed record ChaosResult(ClientFate Fate, string? Complaint);

/// <summary>Plays one handoff.</summary>
public static class ChaosClient
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    /// <param name="socketPath">The daemon's handoff socket.</param>
    /// <param name="fate">How the client behaves.</param>
    /// <param name="json">The handoff data.</param>
    /// <param name="tcp">True for a TCP client, false for a Unix socket pair.</param>
    /// <param name="events">All content events of a complete answer, as the daemon writes them.</param>
    public static async Task<ChaosResult> PlayAsync(
        string socketPath, ClientFate fate, string json, bool tcp, IReadOnlyList<string> events)
    {
        try
        {
            return new ChaosResult(fate, await PlayFateAsync(socketPath, fate, json, tcp, events));
        }
        catch (OperationCanceledException)
        {
            return new ChaosResult(fate, "no end within a minute");
        }
    }

    private static async Task<string?> PlayFateAsync(
        string socketPath, ClientFate fate, string json, bool tcp, IReadOnlyList<string> events)
    {
        switch (fate)
        {
            case ClientFate.SilentPeer or ClientFate.PeerThatLeaves:
                var peer = Posix.ToSocket(Posix.ConnectUnix(socketPath, Posix.SockSeqPacket));
                if (fate == ClientFate.SilentPeer)
                    await ReadAsync(peer, 0);
                peer.Dispose();
                return null;
            case ClientFate.NoDescriptor:
                Send(socketPath, json);
                return null;
            case ClientFate.PipeForASocket:
                var (read, write) = Posix.Pipe();
                Send(socketPath, json, read);
                Close(read, write);
                return null;
            case ClientFate.ListeningSocket:
                using (var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp))
                {
                    listener.Bind(new System.Net.IPEndPoint(System.Net.IPAddress.Loopback, 0));
                    listener.Listen();
                    Send(socketPath, json, (int)listener.Handle);
                }

                return null;
        }

        var data = fate == ClientFate.MalformedData ? json[..^1] : fate == ClientFate.EmptyData ? "" : json;
        var begun = Stopwatch.GetTimestamp();
        using var client = HandOver(socketPath, data, tcp, fate == ClientFate.SeveralDescriptors);
        var handedOver = Stopwatch.GetElapsedTime(begun);
        if (await BehaveAsync(client, fate, events) is not { } complaint)
            return null;
        // On a busy machine, the peer may send its message later than the handoff timeout. Then there is no
        // answer, and that is correct.
        return complaint == ChaosAnswer.Nothing && handedOver.TotalMilliseconds >= ChaosRun.HandoffTimeoutMs
            ? null : $"{complaint}; handed over in {handedOver.TotalMilliseconds:0} ms, "
                + $"ended after {Stopwatch.GetElapsedTime(begun).TotalMilliseconds:0} ms";
    }

    private static async Task<string?> BehaveAsync(
        Socket client, ClientFate fate, IReadOnlyList<string> events)
    {
        switch (fate)
        {
            case ClientFate.LeavesAtOnce:
                return null;
            case ClientFate.HalfCloses:
                client.Shutdown(SocketShutdown.Send);
                await ReadAsync(client, 0);
                return null;
            case ClientFate.LeavesAfterTheHead:
                await client.ReceiveAsync(new byte[64], CancellationToken.None).AsTask().WaitAsync(s_patience);
                return null;
            case ClientFate.ResetsInTheMiddle:
                await client.ReceiveAsync(new byte[300], CancellationToken.None).AsTask().WaitAsync(s_patience);
                client.LingerState = new LingerOption(true, 0);
                return null;
            case ClientFate.NeverReads:
                // Wait until the daemon gives up or ends the answer.
                var left = Environment.TickCount64 + 3_500;
                while (Environment.TickCount64 < left && !client.Poll(0, SelectMode.SelectError))
                    await Task.Delay(50);
                return null;
            case ClientFate.SendsMore:
                try
                {
                    await client.SendAsync(new byte[100_000], CancellationToken.None).AsTask().WaitAsync(s_patience);
                }
                catch (SocketException)
                {
                    // The daemon answered and closed before everything was sent. Only the answer counts.
                }

                break;
        }

        return ChaosAnswer.Judge(await ReadAsync(client, fate == ClientFate.ReadsSlowly ? 20 : 0), events);
    }

    private static async Task<byte[]> ReadAsync(Socket socket, int pauseMs)
    {
        using var limit = new CancellationTokenSource(s_patience);
        using var all = new MemoryStream();
        var buffer = new byte[16 * 1024];
        try
        {
            while (await socket.ReceiveAsync(buffer, limit.Token) is > 0 and var count)
            {
                all.Write(buffer, 0, count);
                if (pauseMs > 0)
                    await Task.Delay(pauseMs, limit.Token);
            }
        }
        catch (SocketException)
        {
            // A reset: judge what was read before it.
        }

        return all.ToArray();
    }

    private static Socket HandOver(string socketPath, string data, bool tcp, bool several)
    {
        if (tcp)
            return TestClient.HandOverTcp(socketPath, data);
        var (ours, theirs) = Posix.SocketPair();
        var (read, write) = several ? Posix.Pipe() : (-1, -1);
        Send(socketPath, data, several ? [theirs, read, write, theirs] : [theirs]);
        Close(theirs);
        if (several)
            Close(read, write);
        return Posix.ToSocket(ours);
    }

    private static void Send(string socketPath, string data, params ReadOnlySpan<int> descriptors)
    {
        var connection = Posix.ConnectUnix(socketPath, Posix.SockSeqPacket);
        ReadOnlySpan<byte> nul = [0];
        _ = Posix.SendDescriptors(connection, data.Length == 0 ? nul : Encoding.UTF8.GetBytes(data), descriptors);
        Close(connection);
    }

    private static void Close(params ReadOnlySpan<int> descriptors)
    {
        foreach (var fd in descriptors)
            _ = Posix.Close(fd);
    }
}
