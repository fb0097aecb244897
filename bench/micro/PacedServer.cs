using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Micro;

/// <summary>An OpenAI server for one stream at a time that allocates nothing while it answers. It sends each token
/// once the sink, which is itself, has taken the one before.</summary>
internal sealed class PacedServer : IDeltaSink, IDisposable
{
    /// <summary>Tokens after which counting begins.</summary>
    public const int Begun = 20;

    private const byte Data = 0, Headers = 1, Settings = 4, Ping = 6;
    private const byte Ack = 1, EndStream = 1, EndHeaders = 4;
    private const int FrameHead = 9;

    /// <summary>How often it looks for the client's frames while a token is on its way.</summary>
    private const int PatienceMs = 20;

    private static readonly byte[] s_http1Head = Encoding.ASCII.GetBytes(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n");

    // RFC 7541: 0x88 is ":status: 200", 0x5f names content-type.
    private static readonly byte[] s_http2Head =
        [0x88, 0x5f, 0x11, .. Encoding.ASCII.GetBytes("text/event-stream")];

    private static readonly byte[] s_token = Encoding.ASCII.GetBytes(
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\","
        + "\"choices\":[{\"index\":0,\"delta\":{\"content\":\" answer\"},\"finish_reason\":null}]}\n\n");

    private static readonly byte[] s_end = Encoding.ASCII.GetBytes("data: [DONE]\n\n");

    private readonly bool _isHttp2;
    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly byte[] _in = new byte[64 * 1024];
    private readonly byte[] _out = new byte[1024];
    private readonly AutoResetEvent _arrived = new(false);
    private readonly List<Socket> _sockets = [];
    private Socket _socket = null!;
    private int _length;
    private int _streamId;
    private int _tokens;
    private int _taken;
    private long _allocatedAtFirst;

    public PacedServer(bool isHttp2)
    {
        _isHttp2 = isHttp2;
        _listener.Start();
        new Thread(Serve) { IsBackground = true }.Start();
    }

    public Uri Address => new($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/v1");

    /// <summary>Bytes that the process allocated in the last answer after its first <see cref="Begun"/> tokens,
    /// whose connection may be new.</summary>
    public long AllocatedByTokens { get; private set; }

    /// <summary>Tokens that arrived of the last answer.</summary>
    public int Taken => Volatile.Read(ref _taken);

    /// <summary>The next answer has that many tokens.</summary>
    public void Begin(int tokens)
    {
        Volatile.Write(ref _taken, 0);
        Volatile.Write(ref _tokens, tokens);
    }

    public void OnResponseStarted()
    {
    }

    public void OnRetry(UpstreamFault fault)
    {
    }

    public void OnUpstreamActivity()
    {
    }

    public ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
    {
        if (_taken == Begun)
            _allocatedAtFirst = GC.GetTotalAllocatedBytes(precise: true);
        if (_taken + 1 == _tokens)
            AllocatedByTokens = GC.GetTotalAllocatedBytes(precise: true) - _allocatedAtFirst;
        Volatile.Write(ref _taken, _taken + 1);
        _arrived.Set();
        return default;
    }

    public void Dispose()
    {
        _listener.Dispose();
        foreach (var socket in _sockets.ToArray())
            socket.Dispose();
        _arrived.Dispose();
    }

    private void Serve()
    {
        try
        {
            Accept();
            while (true)
                Answer();
        }
        catch (Exception exception) when (exception is SocketException or InvalidOperationException)
        {
            // The client has gone, or the measurement is over: the listener calls itself "not listening" then.
        }
    }

    private void Accept()
    {
        _socket = _listener.AcceptSocket();
        _sockets.Add(_socket);
        _socket.NoDelay = true;
        if (!_isHttp2)
            return;
        ReceiveAtLeast("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length);
        Drop("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".Length);
        Frame(Settings, 0, 0, default);
    }

    private void Answer()
    {
        ReceiveRequest();
        Head();
        for (var token = 0; token < Volatile.Read(ref _tokens); token++)
        {
            Send(s_token);
            while (Volatile.Read(ref _taken) <= token)
            {
                _arrived.WaitOne(PatienceMs);
                if (_isHttp2 && _socket.Available > 0)
                    TryReadFrame();
            }
        }

        Send(s_end);
        if (_isHttp2)
            Frame(Data, EndStream, _streamId, default);
        else
            _socket.Send("0\r\n\r\n"u8);
    }

    private void Head()
    {
        if (_isHttp2)
            Frame(Headers, EndHeaders, _streamId, s_http2Head);
        else
            _socket.Send(s_http1Head);
    }

    private void Send(ReadOnlySpan<byte> bytes)
    {
        if (_isHttp2)
        {
            Frame(Data, 0, _streamId, bytes);
            return;
        }

        bytes.Length.TryFormat(_out, out var length, "x", null);
        "\r\n"u8.CopyTo(_out.AsSpan(length));
        bytes.CopyTo(_out.AsSpan(length + 2));
        "\r\n"u8.CopyTo(_out.AsSpan(length + 2 + bytes.Length));
        _socket.Send(_out.AsSpan(0, length + 4 + bytes.Length));
    }

    private void Frame(byte type, byte flags, int stream, ReadOnlySpan<byte> payload)
    {
        BinaryPrimitives.WriteInt32BigEndian(_out, payload.Length << 8 | type);
        _out[4] = flags;
        BinaryPrimitives.WriteInt32BigEndian(_out.AsSpan(5), stream);
        payload.CopyTo(_out.AsSpan(FrameHead));
        _socket.Send(_out.AsSpan(0, FrameHead + payload.Length));
    }

    /// <summary>Reads one frame, and answers those that want an answer.</summary>
    /// <returns>True if it ends a request.</returns>
    private bool TryReadFrame()
    {
        ReceiveAtLeast(FrameHead);
        var length = BinaryPrimitives.ReadInt32BigEndian(_in) >>> 8;
        ReceiveAtLeast(FrameHead + length);
        var (type, flags) = (_in[3], _in[4]);
        var stream = BinaryPrimitives.ReadInt32BigEndian(_in.AsSpan(5));
        if (type == Settings && (flags & Ack) == 0)
            Frame(Settings, Ack, 0, default);
        else if (type == Ping && (flags & Ack) == 0)
            Frame(Ping, Ack, 0, _in.AsSpan(FrameHead, length));
        var isEnd = type is Data or Headers && (flags & EndStream) != 0;
        if (isEnd)
            _streamId = stream;
        Drop(FrameHead + length);
        return isEnd;
    }

    /// <summary>The request's body ends with this parameter.</summary>
    private void ReceiveRequest()
    {
        if (_isHttp2)
        {
            while (!TryReadFrame())
            {
            }

            return;
        }

        FindRequest();
        _length = 0;
        while (!_in.AsSpan(0, _length).EndsWith("\"stream\":true}"u8))
            Receive();
        _length = 0;
    }

    /// <summary>A client that asks before its connection is back in the pool opens another one.</summary>
    private void FindRequest()
    {
        const int PollUs = 1_000;
        while (true)
        {
            foreach (var socket in _sockets)
            {
                if (socket.Available > 0)
                {
                    _socket = socket;
                    return;
                }
            }

            if (_listener.Server.Poll(_sockets.Count > 1 ? 0 : 1, SelectMode.SelectRead))
                Accept();
            else
                _sockets[^1].Poll(PollUs, SelectMode.SelectRead);
        }
    }

    private void ReceiveAtLeast(int count)
    {
        while (_length < count)
            Receive();
    }

    private void Receive()
    {
        var count = _socket.Receive(_in.AsSpan(_length));
        _length += count > 0 ? count : throw new SocketException((int)SocketError.ConnectionReset);
    }

    private void Drop(int count)
    {
        _in.AsSpan(count, _length - count).CopyTo(_in);
        _length -= count;
    }
}
