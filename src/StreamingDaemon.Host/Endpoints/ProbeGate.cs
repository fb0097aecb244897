using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>
/// Listens on the metrics port, and gives Kestrel only connections that have sent the head of a request. So a
/// probe is answered even if many idle connections crowd the port. One thread accepts; it blocks only in
/// poll(2).
/// </summary>
/// <remarks>
/// At most <see cref="Most"/> connections may wait to send their head. Each further one closes the oldest of
/// them, but not before it is <see cref="GraceMs"/> old: a probe sends its request shortly after it connects.
/// If a crowd is in the accept queue, there is no grace: a probe behind the crowd has sent its request by the
/// time it is accepted. A connection that waits for Kestrel's answer is never closed.
/// </remarks>
internal sealed class ProbeGate : IAsyncDisposable
{
    /// <summary>Most connections held at once. Together with <see cref="KestrelPlaces"/>, it fits in the
    /// headroom of <see cref="Uring.DescriptorBudget"/>.</summary>
    private const int Most = 64;

    /// <summary>The least time that a connection has for its head.</summary>
    private const int GraceMs = 50;

    /// <summary>With this many in the accept queue, there is no grace: 512 would take 8 graces.</summary>
    private const int Crowd = 512;

    /// <summary>Large, for bursts: if the queue is full, a client retries only a second later.</summary>
    private const int Backlog = 4096;

    /// <summary>Most accepts in a row before the held connections are checked again.</summary>
    private const int AcceptsInARow = 128;

    /// <summary>Pause after an accept that failed, for example because no descriptor was left.</summary>
    private const int ShortageMs = 20;

    private readonly Socket _listener;
    private readonly PollSet _poll = new(Most + 1);
    private readonly byte[] _room = new byte[HeldConnection.MaxHeadBytes];
    private readonly ILogger _logger;
    private readonly KestrelPlaces _places = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Connections for Kestrel; <see cref="KestrelPlaces"/> limits their number.</summary>
    private readonly Channel<ProbeConnection> _ready = Channel.CreateUnbounded<ProbeConnection>(
        new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });

    /// <summary>The held connections, oldest first.</summary>
    private readonly List<HeldConnection> _held = new(Most);
    private volatile bool _stops;
    private long _arrivals;
    private long _acceptFromMs;
    private bool _hasFailed;

    /// <exception cref="SocketException">It cannot listen on the port.</exception>
    /// <exception cref="Uring.HandoffServerException">The system refuses a thread.</exception>
    public ProbeGate(IPEndPoint endPoint, ILogger logger)
    {
        _logger = logger;
        _listener = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            if (endPoint.Address.Equals(IPAddress.IPv6Any))
                _listener.DualMode = true;
            _listener.Bind(endPoint);
            _listener.Listen(Backlog);
            _listener.Blocking = false;
            EndPoint = _listener.LocalEndPoint!;
            PreparedThread.Start("probe gate", Run);
        }
        catch
        {
            _listener.Dispose();
            throw;
        }
    }

    public EndPoint EndPoint { get; }

    /// <summary>The connections for Kestrel. Completes when the gate has stopped.</summary>
    public ChannelReader<ProbeConnection> Ready => _ready.Reader;

    /// <summary>Stops and closes all held connections: half a request must not delay a stop.</summary>
    public async Task StopAsync()
    {
        if (!_stops)
        {
            _stops = true;
            // Wakes the thread: poll(2) reports the shutdown of the listener.
            _listener.Shutdown(SocketShutdown.Both);
        }

        // Does not take long: nothing in a turn blocks.
        await _ended.Task.ConfigureAwait(false);
    }

    public ValueTask DisposeAsync() => new(StopAsync());

    private void Run()
    {
        while (!_stops)
            Guarded(Turn);
        _held.ForEach(c => c.Dispose());
        _listener.Dispose();
        _ready.Writer.TryComplete();
        _ended.TrySetResult();
    }

    /// <summary>Keeps the thread alive if a turn fails, for example for lack of memory.</summary>
    private void Guarded(Action turn)
    {
        try
        {
            turn();
        }
        catch (Exception e)
        {
            if (!_hasFailed)
                _logger.MetricsPortFault(e);
            _hasFailed = true;
            Thread.Sleep(ShortageMs);
        }
    }

    private void Turn()
    {
        var nowMs = Environment.TickCount64;
        var accepts = nowMs >= _acceptFromMs;
        _poll.Clear();
        _poll.Add(accepts ? _listener : null, PollSet.In);
        foreach (var connection in _held)
            _poll.Add(connection.Socket, connection.Events);
        _poll.Wait(TimeoutMs(nowMs));
        if (_stops)
            return;
        nowMs = Environment.TickCount64;
        for (var i = 0; i < _held.Count; i++)
            _held[i].Look(_poll.Result(i + 1), _room, nowMs);
        RemoveClosed();
        HandOver(nowMs);
        if (accepts && _poll.Result(0) != 0)
            Accept(nowMs);
    }

    private int TimeoutMs(long nowMs)
    {
        var due = _acceptFromMs > nowMs ? _acceptFromMs : long.MaxValue;
        foreach (var connection in _held)
        {
            // A complete one waits for a place: look again soon.
            due = Math.Min(due, connection.IsWhole ? nowMs + 1 : connection.DueMs);
        }

        return due == long.MaxValue ? -1 : (int)Math.Clamp(due - nowMs, 0, int.MaxValue);
    }

    /// <summary>Gives Kestrel the connections whose head is complete, oldest first, while places are free.
    /// </summary>
    /// <returns>True if it gave at least one.</returns>
    private bool HandOver(long nowMs)
    {
        var before = _held.Count;
        var waiting = 0;
        for (var i = 0; i < _held.Count; i++)
        {
            if (!_held[i].IsWhole)
                continue;
            if (_places.IsFull)
            {
                waiting++;
                continue;
            }

            HandOver(_held[i], nowMs);
            _held.RemoveAt(i--);
        }

        if (waiting > 0)
            _places.PutOut(waiting, nowMs);
        if (_held.Count == before)
            return false;
        _acceptFromMs = 0;
        return true;
    }

    private void HandOver(HeldConnection held, long nowMs)
    {
        var connection = new ProbeConnection(held.Socket, held.Arrival, nowMs, _places);
        _places.Add(connection);
        try
        {
            _ready.Writer.TryWrite(connection);
        }
        catch
        {
            // Out of memory. The next turn tries again.
            _places.Remove(connection);
            throw;
        }
    }

    private void Accept(long nowMs)
    {
        for (var i = 0; i < AcceptsInARow && _listener.Poll(0, SelectMode.SelectRead); i++)
        {
            if (_stops || (_held.Count == Most && !MakeRoom(nowMs)))
                return;
            Socket socket;
            try
            {
                socket = _listener.Accept();
            }
            catch (SocketException e)
            {
                // The client left before the accept, or there is no descriptor for it.
                if (e.SocketErrorCode is not (SocketError.ConnectionAborted or SocketError.WouldBlock))
                    _acceptFromMs = nowMs + ShortageMs;
                return;
            }

            Hold(socket, nowMs);
        }
    }

    private void Hold(Socket socket, long nowMs)
    {
        try
        {
            socket.Blocking = false;
            socket.NoDelay = true;
            _held.Add(new HeldConnection(socket, _arrivals++, nowMs));
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        // Usually the request has arrived by now.
        _held[^1].LookAgain(_room, nowMs);
        if (_held[^1].IsWhole)
            HandOver(nowMs);
        RemoveClosed();
    }

    /// <summary>Makes room for one more: gives Kestrel a held connection, or closes the oldest.</summary>
    /// <returns>False if none may be closed yet; accepting pauses until one may.</returns>
    private bool MakeRoom(long nowMs)
    {
        if (HandOver(nowMs))
            return true;
        var isCrowd = TcpInfo.Queued(_listener) >= Crowd;
        foreach (var first in _held)
        {
            if (first.IsWhole)
                continue;
            // Its request may have arrived since the last look.
            first.LookAgain(_room, nowMs);
            if (first.IsWhole && HandOver(nowMs))
                return true;
            if (first.IsWhole)
                continue;
            _acceptFromMs = first.ArrivedMs + GraceMs;
            if (!first.IsClosed && !isCrowd && nowMs < _acceptFromMs)
                return false;
            first.Close();
            RemoveClosed();
            return true;
        }

        // All held connections are complete, and wait for a place.
        _acceptFromMs = nowMs + 1;
        return false;
    }

    private void RemoveClosed()
    {
        for (var i = _held.Count - 1; i >= 0; i--)
        {
            if (!_held[i].IsClosed)
                continue;
            _held[i].Dispose();
            _held.RemoveAt(i);
            _acceptFromMs = 0;
        }
    }
}
