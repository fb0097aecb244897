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
/// <param name="kind">The way.</param>
/// <param name="port">Where it listens; 0 for a free port.</param>
public sealed class BrokenServer(BrokenServerKind kind, int port = 0) : LoopbackServer(port)
{
    private const byte Data = 0, Headers = 1, RstStream = 3, Settings = 4, GoAway = 7;

    private const byte EndHeaders = 4;

    private readonly TaskCompletionSource _proceed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private int _attempts;

    /// <summary>RFC 7541: ":status: 200" as an index; "content-type" as an index with a literal value.
    /// </summary>
    private static readonly byte[] s_eventStreamHead = [0x88, 0x0f, 0x10, 17, .. "text/event-stream"u8];

    /// <summary>Number of connections so far that sent something; over HTTP/2, number of requests.</summary>
    public int Attempts => Volatile.Read(ref _attempts);

    /// <summary>Triggers a fault that waits until the data before it was received.</summary>
    public void Proceed() => _proceed.TrySetResult();

    /// <summary>The API base for a client.</summary>
    public Uri BaseAddress(string scheme = "http") =>
        new($"{scheme}://127.0.0.1:{Port}/v1");

    /// <inheritdoc/>
    protected override async Task ServeAsync(Socket socket, NetworkStream stream)
    {
        if (kind >= BrokenServerKind.GoesAway)
            await SpeakHttp2Async(stream);
        else if (await stream.ReadAsync(new byte[4096], Stopping) > 0)
            await AnswerAsync(socket, stream);
    }

    private async Task AnswerAsync(Socket socket, NetworkStream stream)
    {
        Interlocked.Increment(ref _attempts);
        switch (kind)
        {
            case BrokenServerKind.Resets:
                // Not through the stream, which would send a FIN first.
                socket.LingerState = new LingerOption(true, 0);
                socket.Dispose();
                return;
            case BrokenServerKind.Garbage:
                await stream.WriteAsync(Encoding.ASCII.GetBytes(FakeLlmFaults.Secret + "\r\n\r\n"), Stopping);
                break;
            case BrokenServerKind.BadChunk:
                var begun = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" + FakeLlmFaults.Begun + "\"}}]}\n\n";
                await stream.WriteAsync(Encoding.ASCII.GetBytes("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                    + $"Transfer-Encoding: chunked\r\n\r\n{begun.Length:x}\r\n{begun}\r\n"), Stopping);
                await _proceed.Task.WaitAsync(Stopping);
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"{FakeLlmFaults.Secret}\r\n{begun}\r\n"), Stopping);
                break;
            case BrokenServerKind.Http1BadRequest:
                await stream.WriteAsync("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"u8.ToArray(), Stopping);
                break;
        }

        if (kind != BrokenServerKind.Mute)
            socket.Shutdown(SocketShutdown.Send);
        // Read the rest first: closing with unread data would reset the connection, and lose the answer.
        while (await stream.ReadAsync(new byte[4096], Stopping) > 0)
        {
        }
    }

    private async Task SpeakHttp2Async(NetworkStream stream)
    {
        await stream.ReadExactlyAsync(new byte["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length], Stopping);
        await stream.WriteAsync(Frame(Settings, []), Stopping);
        var head = new byte[9];
        while (true)
        {
            await stream.ReadExactlyAsync(head, Stopping);
            var payload = new byte[(head[0] << 16) | (head[1] << 8) | head[2]];
            await stream.ReadExactlyAsync(payload, Stopping);
            if (head[3] != Headers)
                continue;
            Interlocked.Increment(ref _attempts);
            await stream.WriteAsync(AnswerToStream(head.AsSpan(5)), Stopping);
            if (kind == BrokenServerKind.FloodsEmptyFrames)
                await FloodAsync(stream, head.AsSpan(5).ToArray());
            if (kind != BrokenServerKind.GoesAwayMidStream)
                continue;
            await _proceed.Task.WaitAsync(Stopping);
            await stream.WriteAsync(Frame(GoAway, [0, 0, 0, 0, 0, 0, 0, 0x2]), Stopping);
        }
    }

    private async Task FloodAsync(NetworkStream stream, byte[] streamId)
    {
        byte[] frames = [.. Enumerable.Repeat(Frame(Data, [], streamId), 1000).SelectMany(frame => frame)];
        while (true)
            await stream.WriteAsync(frames, Stopping);
    }

    private byte[] AnswerToStream(ReadOnlySpan<byte> streamId) => kind switch
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
