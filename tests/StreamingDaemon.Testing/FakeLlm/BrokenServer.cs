using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>Ways to be broken that a real HTTP server does not offer.</summary>
public enum BrokenServerKind
{
    /// <summary>Accepts, reads and never sends anything.</summary>
    Mute,

    /// <summary>Ends the connection with a FIN when it has read something.</summary>
    HangsUp,

    /// <summary>Ends it with a RST.</summary>
    Resets,

    /// <summary>Answers with a line that belongs to no protocol.</summary>
    Garbage,

    /// <summary>Answers anything with HTTP/1.1 400, as servers without HTTP/2 answer its preface.</summary>
    Http1BadRequest,

    /// <summary>HTTP/1.1 that sends a chunk of events, and then a chunk length that is not a
    /// number.</summary>
    BadChunk,

    /// <summary>HTTP/2 that sends GOAWAY (NO_ERROR) before it has accepted any stream.</summary>
    GoesAway,

    /// <summary>HTTP/2 that refuses each stream (RST_STREAM, REFUSED_STREAM).</summary>
    RefusesStreams,

    /// <summary>HTTP/2 that sends GOAWAY (INTERNAL_ERROR) after a 200 head.</summary>
    GoesAwayMidStream,

    /// <summary>HTTP/2 that sends empty DATA frames for ever after a 200 head.</summary>
    FloodsEmptyFrames,

    /// <summary>HTTP/2 that requires HTTP/1.1 (RST_STREAM, HTTP_1_1_REQUIRED).</summary>
    WantsHttp1,
}

/// <summary>A TCP server on loopback that is broken in one way.</summary>
public sealed class BrokenServer : IAsyncDisposable
{
    private const byte Data = 0, Headers = 1, RstStream = 3, Settings = 4, GoAway = 7;

    private const byte EndHeaders = 4;

    private readonly TcpListener _listener;
    private readonly CancellationTokenSource _stop = new();
    private readonly ConcurrentBag<Socket> _sockets = [];
    private readonly TaskCompletionSource _proceed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly BrokenServerKind _kind;
    private readonly Task _accepting;
    private int _attempts;

    /// <summary>Listens, on a free port if none is given.</summary>
    public BrokenServer(BrokenServerKind kind, int port = 0)
    {
        _kind = kind;
        _listener = new TcpListener(IPAddress.Loopback, port);
        _listener.Start();
        _accepting = AcceptAsync();
    }

    /// <summary>RFC 7541: ":status: 200" as an index; "content-type" as an index with a literal value.
    /// </summary>
    private static readonly byte[] s_eventStreamHead = [0x88, 0x0f, 0x10, 17, .. "text/event-stream"u8];

    /// <summary>Number of connections so far that sent something; over HTTP/2, number of requests.</summary>
    public int Attempts => Volatile.Read(ref _attempts);

    /// <summary>Triggers a fault that waits until the data before it was received.</summary>
    public void Proceed() => _proceed.TrySetResult();

    /// <summary>The API base for a client.</summary>
    public Uri BaseAddress(string scheme = "http") =>
        new($"{scheme}://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/v1");

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _listener.Dispose();
        await _accepting;
        foreach (var socket in _sockets)
            socket.Dispose();
        _stop.Dispose();
    }

    private async Task AcceptAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var socket = await _listener.AcceptSocketAsync(_stop.Token);
                _sockets.Add(socket);
                _ = ServeAsync(socket);
            }
            catch (Exception e) when (e is OperationCanceledException or InvalidOperationException or SocketException)
            {
                return;
            }
        }
    }

    private async Task ServeAsync(Socket socket)
    {
        try
        {
            using var stream = new NetworkStream(socket, ownsSocket: true);
            if (_kind >= BrokenServerKind.GoesAway)
                await SpeakHttp2Async(stream);
            else if (await stream.ReadAsync(new byte[4096], _stop.Token) > 0)
                await AnswerAsync(socket, stream);
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or ObjectDisposedException)
        {
            // The client closed first, or the server stops.
        }
    }

    private async Task AnswerAsync(Socket socket, NetworkStream stream)
    {
        Interlocked.Increment(ref _attempts);
        switch (_kind)
        {
            case BrokenServerKind.Resets:
                // Not through the stream, which would send a FIN first.
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
                return;
            case BrokenServerKind.Garbage:
                await stream.WriteAsync(Encoding.ASCII.GetBytes(FakeLlmFaults.Secret + "\r\n\r\n"), _stop.Token);
                break;
            case BrokenServerKind.BadChunk:
                var begun = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + FakeLlmFaults.Begun + "\"}}]}\n\n";
                await stream.WriteAsync(Encoding.ASCII.GetBytes("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    + $"Transfer-Encoding: chunked\r\n\r\n{begun.Length:x}\r\n{begun}\r\n"), _stop.Token);
                await _proceed.Task.WaitAsync(_stop.Token);
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"{FakeLlmFaults.Secret}\r\n{begun}\r\n"), _stop.Token);
                break;
            case BrokenServerKind.Http1BadRequest:
                await stream.WriteAsync("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"u8.ToArray(), _stop.Token);
                break;
        }

        if (_kind != BrokenServerKind.Mute)
            socket.Shutdown(SocketShutdown.Send);
        // Read the rest first: closing with unread data would reset the connection, and lose the answer.
        while (await stream.ReadAsync(new byte[4096], _stop.Token) > 0)
        {
        }
    }

    private async Task SpeakHttp2Async(NetworkStream stream)
    {
        await stream.ReadExactlyAsync(new byte["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length], _stop.Token);
        await stream.WriteAsync(Frame(Settings, []), _stop.Token);
        var head = new byte[9];
        while (true)
        {
            await stream.ReadExactlyAsync(head, _stop.Token);
            var payload = new byte[(head[0] << 16) | (head[1] << 8) | head[2]];
            await stream.ReadExactlyAsync(payload, _stop.Token);
            if (head[3] != Headers)
                continue;
            Interlocked.Increment(ref _attempts);
            await stream.WriteAsync(AnswerToStream(head.AsSpan(5)), _stop.Token);
            if (_kind == BrokenServerKind.FloodsEmptyFrames)
                await FloodAsync(stream, head.AsSpan(5).ToArray());
            if (_kind != BrokenServerKind.GoesAwayMidStream)
                continue;
            await _proceed.Task.WaitAsync(_stop.Token);
            await stream.WriteAsync(Frame(GoAway, [0, 0, 0, 0, 0, 0, 0, 0x2]), _stop.Token);
        }
    }

    private async Task FloodAsync(NetworkStream stream, byte[] streamId)
    {
        byte[] frames = [.. Enumerable.Repeat(Frame(Data, [], streamId), 1000).SelectMany(frame => frame)];
        while (true)
            await stream.WriteAsync(frames, _stop.Token);
    }

    private byte[] AnswerToStream(ReadOnlySpan<byte> streamId) => _kind switch
    {
        BrokenServerKind.GoesAway => Frame(GoAway, [0, 0, 0, 0, 0, 0, 0, 0]),
        BrokenServerKind.GoesAwayMidStream or BrokenServerKind.FloodsEmptyFrames => Frame(Headers, s_eventStreamHead, streamId, EndHeaders),
        BrokenServerKind.RefusesStreams => Frame(RstStream, [0, 0, 0, 0x7], streamId),
        _ => Frame(RstStream, [0, 0, 0, 0xd], streamId),
    };

    // RFC 9113, section 4.1: length, type, flags, stream.
    private static byte[] Frame(
        byte type, ReadOnlySpan<byte> payload, ReadOnlySpan<byte> streamId = default, byte flags = 0) =>
        [0, 0, (byte)payload.Length, type, flags, .. streamId.IsEmpty ? [0, 0, 0, 0] : streamId, .. payload];
}
