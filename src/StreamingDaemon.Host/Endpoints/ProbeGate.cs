using System.Net;
using System.Net.Sockets;
using System.Threading.Channels;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>
/// The metrics port's listener: gives Kestrel connections that have sent the head of a request, so that a
/// probe is answered in any crowd. One thread accepts, and waits nowhere but in poll(2).
/// </summary>
/// <remarks>
/// Above <see cref="Most"/> connections that owe a head, one is closed for each that comes, by the time of
/// their accept. They may stay for <see cref="GraceMs"/>: a probe sends its request some time after it has
/// connected. If a crowd waits to be accepted there is no grace: a probe behind it has sent its request by
/// the time it is accepted. Of those that Kestrel has, none is put out to which an answer is owed.
/// </remarks>
internal sealed class ProbeGate : IAsyncDisposable
{
    /// <summary>Held at a time. With <see cref="KestrelPlaces"/> within the headroom of
    /// <see cref="Uring.DescriptorBudget"/>.</summary>
    private const int Most = 64;

    private const int GraceMs = 50;

    /// <summary>With so many in the accept queue there is no grace. 512 are accepted in 8 graces.</summary>
    private const int Crowd = 512;

    /// <summary>For a burst: if the queue is full a client connects again a second later.</summary>
    private const int Backlog = 4096;

    /// <summary>Accepted at most before the others are looked at again.</summary>
    private const int AcceptsInARow = 128;

    /// <summary>After an accept for which there was no descriptor.</summary>
    private const int ShortageMs = 20;

    private readonly Socket _listener;
    private readonly PollSet _poll = new(Most + 1);
    private readonly byte[] _room = new byte[HeldConnection.MaxHeadBytes];
    private readonly ILogger _logger;
    private readonly KestrelPlaces _places = new();
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>What Kestrel has not taken yet; <see cref="KestrelPlaces"/> bounds it.</summary>
    private readonly Channel<ProbeConnection> _ready = Channel.CreateUnbounded<ProbeConnection>(
        new UnboundedChannelOptions { SingleReader = true, SingleWriter = true });

    /// <summary>By the time of their accept.</summary>
    private readonly List<HeldConnection> _held = new(Most);
    private volatile bool _stops;
    private long _arrivals;
    private long _acceptFromMs;
    private bool _hasFailed;

    /// <exception cref="SocketException">The port cannot be listened on.</exception>
    /// <exception cref="Uring.HandoffServerException">The system gives no thread.</exception>
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

    /// <summary>What Kestrel is to take. It ends when the gate has.</summary>
    public ChannelReader<ProbeConnection> Ready => _ready.Reader;

    /// <summary>Closes what it holds: half a request holds no stop.</summary>
    public async Task StopAsync()
    {
        if (!_stops)
        {
            _stops = true;
            // Wakes the thread: poll(2) reports a listener that was shut down.
            _listener.Shutdown(SocketShutdown.Both);
        }

        // At once: nothing in a turn waits.
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

    /// <summary>The thread outlives whatever goes wrong in it, such as a want of memory.</summary>
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
            // One that is whole waits for a place.
            due = Math.Min(due, connection.IsWhole ? nowMs + 1 : connection.DeadlineMs);
        }

        return due == long.MaxValue ? -1 : (int)Math.Clamp(due - nowMs, 0, int.MaxValue);
    }

    /// <summary>Gives Kestrel those whose head is whole, the earliest first, as far as there are places.
    /// </summary>
    /// <returns>True if any.</returns>
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
            // Want of memory. It is tried again.
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
                // It left before it was taken; or there is no descriptor for it.
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

        // Most often the request is there by now.
        _held[^1].Look(PollSet.In, _room, nowMs);
        if (_held[^1].IsWhole)
            HandOver(nowMs);
        RemoveClosed();
    }

    /// <summary>Gives Kestrel or closes one of those that are held, so that another may come.</summary>
    /// <returns>False if none may go now; accepting waits until one may.</returns>
    private bool MakeRoom(long nowMs)
    {
        if (HandOver(nowMs))
            return true;
        var isCrowd = TcpInfo.Queued(_listener) >= Crowd;
        foreach (var first in _held)
        {
            if (first.IsWhole)
                continue;
            // Its request may have come since it was looked at.
            first.Look(PollSet.In, _room, nowMs);
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

        // Each waits for a place.
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
