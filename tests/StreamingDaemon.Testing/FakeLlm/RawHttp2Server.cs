using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>A server on loopback that speaks HTTP/2 without TLS, frame by frame: a test writes what a server's
/// library would not.</summary>
/// <param name="answer">Answers each request; called when its HEADERS frame came.</param>
public sealed class RawHttp2Server(Func<RawHttp2Stream, Task> answer) : LoopbackServer
{
    private int _connections;
    private int _requests;

    /// <summary>The payload of the first SETTINGS frame.</summary>
    public byte[] Settings { get; init; } = [];

    /// <summary>Sends more after the first SETTINGS frame of each connection.</summary>
    public Func<RawHttp2Stream, Task> Greeting { get; init; } = _ => Task.CompletedTask;

    /// <summary>The API base for a client.</summary>
    public Uri BaseAddress => new($"http://127.0.0.1:{Port}/v1");

    /// <summary>Connections so far.</summary>
    public int Connections => Volatile.Read(ref _connections);

    /// <summary>Requests so far.</summary>
    public int Requests => Volatile.Read(ref _requests);

    /// <summary>RST_STREAM frames of the client: their error codes.</summary>
    public ConcurrentQueue<int> Resets { get; } = [];

    /// <inheritdoc/>
    protected override async Task ServeAsync(Socket socket, NetworkStream stream)
    {
        Interlocked.Increment(ref _connections);
        await stream.ReadExactlyAsync(new byte["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length], Stopping);
        var connection = new RawHttp2Stream(socket, stream, 0, Stopping);
        await connection.SendAsync(connection.Frame(RawHttp2Stream.Settings, Settings));
        await Greeting(connection);
        var head = new byte[9];
        while (true)
        {
            await stream.ReadExactlyAsync(head, Stopping);
            var payload = new byte[(head[0] << 16) | (head[1] << 8) | head[2]];
            await stream.ReadExactlyAsync(payload, Stopping);
            var id = (head[5] << 24) | (head[6] << 16) | (head[7] << 8) | head[8];
            if (head[3] == RawHttp2Stream.RstStream)
                Resets.Enqueue(payload[3]);
            if (head[3] == RawHttp2Stream.Ping && head[4] == 0)
                await connection.SendAsync(connection.Frame(RawHttp2Stream.Ping, payload, flags: 1));
            if (head[3] != RawHttp2Stream.Headers)
                continue;
            Interlocked.Increment(ref _requests);
            _ = UntilClosedAsync(answer(new RawHttp2Stream(socket, stream, id, Stopping)));
        }
    }
}

/// <summary>One stream of a <see cref="RawHttp2Server"/>; makes frames and sends them.</summary>
/// <param name="socket">The connection.</param>
/// <param name="stream">The connection's bytes.</param>
/// <param name="id">The stream's id; 0 for the connection itself.</param>
/// <param name="stop">The server stops.</param>
public sealed class RawHttp2Stream(Socket socket, Stream stream, int id, CancellationToken stop)
{
    /// <summary>DATA</summary>
    public const byte Data = 0;

    /// <summary>HEADERS</summary>
    public const byte Headers = 1;

    /// <summary>RST_STREAM</summary>
    public const byte RstStream = 3;

    /// <summary>SETTINGS</summary>
    public const byte Settings = 4;

    /// <summary>PING</summary>
    public const byte Ping = 6;

    /// <summary>GOAWAY</summary>
    public const byte GoAway = 7;

    /// <summary>END_STREAM</summary>
    public const byte EndStream = 1;

    /// <summary>END_HEADERS</summary>
    public const byte EndHeaders = 4;

    /// <summary>The stream's id.</summary>
    public int Id => id;

    /// <summary>The server stops.</summary>
    public CancellationToken Stop => stop;

    /// <summary>HEADERS of a 200 with an event stream.</summary>
    public byte[] Head => Frame(Headers, [0x88, 0x0f, 0x10, 17, .. "text/event-stream"u8], EndHeaders);

    /// <summary>HEADERS of an interim response.</summary>
    public byte[] Interim(int status) => Frame(Headers, Literal(8, $"{status}"), EndHeaders);

    /// <summary>HEADERS that end the stream.</summary>
    public byte[] Trailers(string name, string value) => Frame(
        Headers, [0x00, (byte)name.Length, .. Encoding.ASCII.GetBytes(name), (byte)value.Length, .. Encoding.ASCII.GetBytes(value)],
        EndHeaders | EndStream);

    /// <summary>DATA with an event: a chunk with text.</summary>
    public byte[] Text(string text) => Event($$$"""{"choices":[{"index":0,"delta":{"content":"{{{text}}}"}}]}""");

    /// <summary>DATA with an event: a chunk with a finish reason.</summary>
    public byte[] Finish => Event("""{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}""");

    /// <summary>DATA with an event.</summary>
    public byte[] Event(string json, byte flags = 0) => Frame(Data, Encoding.UTF8.GetBytes($"data: {json}\n\n"), flags);

    /// <summary>An empty DATA that ends the stream.</summary>
    public byte[] End => Frame(Data, [], EndStream);

    /// <summary>RST_STREAM.</summary>
    public byte[] Reset(int code) => Frame(RstStream, [0, 0, 0, (byte)code]);

    /// <summary>GOAWAY.</summary>
    public static byte[] GoAwayAt(int lastId, int code) =>
        [0, 0, 8, GoAway, 0, 0, 0, 0, 0, .. BigEndian(lastId), 0, 0, 0, (byte)code];

    /// <summary>A frame of this stream (RFC 9113, section 4.1).</summary>
    public byte[] Frame(byte type, ReadOnlySpan<byte> payload, byte flags = 0) =>
        [.. BigEndian(payload.Length)[1..], type, flags, .. BigEndian(id), .. payload];

    /// <summary>Sends frames in one piece.</summary>
    public async Task SendAsync(params byte[][] frames) =>
        await stream.WriteAsync(frames.SelectMany(frame => frame).ToArray(), stop);

    /// <summary>Ends the connection with a FIN.</summary>
    public void CloseConnection() => socket.Shutdown(SocketShutdown.Send);

    /// <summary>Ends the connection with a RST.</summary>
    public void ResetConnection()
    {
        socket.LingerState = new LingerOption(true, 0);
        socket.Dispose();
    }

    /// <summary>A literal header without indexing, its name from HPACK's static table (RFC 7541).</summary>
    private static byte[] Literal(int name, string value) =>
        [(byte)name, (byte)value.Length, .. Encoding.ASCII.GetBytes(value)];

    private static byte[] BigEndian(int value) => [(byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value];
}
