using System.Net.Sockets;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>What a connection to the metrics port is waited for.</summary>
internal enum MetricsWait
{
    /// <summary>A request of it, or the rest of one.</summary>
    Request,

    /// <summary>The daemon: its request is here.</summary>
    Answer,

    /// <summary>That it reads its answer.</summary>
    Reader,

    /// <summary>Its end, after the last answer: a close before that may reset what it has not read.</summary>
    End,
}

/// <summary>One connection to the metrics port, by the server's thread alone. Nothing here waits.</summary>
internal sealed class MetricsConnection(Socket socket, long nowMs) : IDisposable
{
    /// <summary>For a request's head, from its first byte or the connection's accept.</summary>
    private const int HeadMs = 5_000;

    /// <summary>A loop that has not turned for this long after it was woken does not turn. Below a second,
    /// which is what probes wait.</summary>
    private const int AnswerMs = 800;

    /// <summary>Between two requests: scrapers come once in 15 to 60 seconds.</summary>
    private const int IdleMs = 10_000;

    /// <summary>For any byte of an answer to be taken.</summary>
    private const int ReadMs = 5_000;

    /// <summary>For the end of a connection that is done.</summary>
    private const int EndMs = 1_000;

    private readonly byte[] _input = new byte[HttpRequest.MaxHeadBytes];
    private int _filled;
    private byte[] _output = [];
    private int _sent;
    private bool _peerEnded;
    private bool _closes;
    private bool _mayHaveMore;

    public Socket Socket { get; } = socket;

    public long ArrivedMs { get; } = nowMs;

    public MetricsWait Wait { get; private set; } = MetricsWait.Request;

    /// <summary>What it asked for, until it is answered.</summary>
    public HttpRequest? Request { get; private set; }

    /// <summary>That of its request, if it wants one.</summary>
    public TurnCheck? Check;

    /// <summary>When it is closed; while it waits for its answer, when that is late.</summary>
    public long DeadlineMs { get; private set; } = nowMs + HeadMs;

    public bool IsClosed { get; private set; }

    /// <summary>Has it had an answer, and read it?</summary>
    public bool IsServed { get; private set; }

    /// <summary>May there be a further request in what was read with the one before?</summary>
    public bool MayHaveMore => Wait == MetricsWait.Request && _mayHaveMore;

    /// <summary>Does what poll(2) reported.</summary>
    public void Move(short events, long nowMs)
    {
        try
        {
            if (Wait is MetricsWait.Answer or MetricsWait.Reader && (events & PollSet.Gone) != 0)
                IsClosed = true;
            else if (Wait == MetricsWait.Reader && events != 0)
                SendMore(nowMs);
            else if (events != 0)
                Read(nowMs);
            IsClosed |= Wait != MetricsWait.Answer && nowMs >= DeadlineMs;
        }
        catch
        {
            IsClosed = true;
            throw;
        }
    }

    /// <summary>Reads what has come, and takes a request from it if one is whole.</summary>
    private void Read(long nowMs)
    {
        if (Wait is MetricsWait.Answer or MetricsWait.Reader)
            return;
        if (Wait == MetricsWait.End)
            _filled = 0;
        var room = _input.AsSpan(_filled);
        var count = Socket.Receive(room, SocketFlags.None, out var error);
        if (error == SocketError.WouldBlock)
            return;
        _peerEnded = error == SocketError.Success && count == 0 && room.Length > 0;
        IsClosed = error != SocketError.Success || (_peerEnded && Wait == MetricsWait.End);
        if (IsClosed || Wait == MetricsWait.End)
            return;
        if (_filled == 0)
            DeadlineMs = nowMs + HeadMs;
        _filled += count;
        Take(nowMs);
    }

    /// <summary>Takes a request from what was read.</summary>
    public void Take(long nowMs)
    {
        var request = HttpRequest.TryRead(_input.AsSpan(0, _filled), out var length);
        if (request is null)
        {
            _mayHaveMore = false;
            IsClosed = _peerEnded;
            return;
        }

        _input.AsSpan(length, _filled - length).CopyTo(_input);
        _filled -= length;
        (Wait, Request, DeadlineMs) = (MetricsWait.Answer, request, nowMs + AnswerMs);
    }

    /// <summary>Sends the answer, as far as it is taken.</summary>
    public void Send(HttpAnswer answer, long nowMs)
    {
        var request = Request!;
        (Request, Check) = (null, null);
        _closes = !request.KeepAlive || _peerEnded;
        _output = answer.ToBytes(request.Method != "HEAD", keepAlive: !_closes);
        _sent = 0;
        SendMore(nowMs);
    }

    private void SendMore(long nowMs)
    {
        var count = Socket.Send(_output.AsSpan(_sent), SocketFlags.None, out var error);
        if (error is not (SocketError.Success or SocketError.WouldBlock))
        {
            IsClosed = true;
            return;
        }

        if (count > 0 || Wait != MetricsWait.Reader)
            DeadlineMs = nowMs + ReadMs;
        Wait = MetricsWait.Reader;
        _sent += count;
        if (_sent == _output.Length)
            EndAnswer(nowMs);
    }

    private void EndAnswer(long nowMs)
    {
        _output = [];
        IsServed = true;
        if (!_closes)
        {
            (Wait, DeadlineMs) = (MetricsWait.Request, nowMs + (_filled > 0 ? HeadMs : IdleMs));
            _mayHaveMore = _filled > 0;
            return;
        }

        (Wait, DeadlineMs) = (MetricsWait.End, nowMs + EndMs);
        IsClosed = _peerEnded;
        try
        {
            Socket.Shutdown(SocketShutdown.Send);
        }
        catch (SocketException)
        {
            // Reset meanwhile.
            IsClosed = true;
        }
    }

    /// <summary>It is removed at the end of the server's turn.</summary>
    public void Close() => IsClosed = true;

    public void Dispose() => Socket.Dispose();
}
