using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>
/// HTTP on the metrics port, on one thread of its own: a probe is answered in any crowd, and even if the
/// thread pool is full of backends that block. The thread owns every connection and waits nowhere but in
/// poll(2).
/// </summary>
/// <remarks>
/// Above <see cref="Most"/> connections one is closed for each that comes: first those that have had their
/// answer, then those that owe a request or do not read, each by the time of their accept. One whose request
/// is here is answered first. The others may stay for <see cref="GraceMs"/>: a probe sends its request
/// some time after it has connected. If a crowd waits to be accepted there is no grace: a probe behind it has
/// sent its request by the time it is accepted.
/// </remarks>
internal sealed partial class MetricsServer(
    DaemonOptions options, MetricsAnswers answers, ILogger<MetricsServer> logger)
    : IHostedService, IDisposable
{
    /// <summary>A scraper, probes and a person with a browser are not ten. Within the headroom of
    /// <see cref="Uring.DescriptorBudget"/>.</summary>
    private const int Most = 64;

    private const int GraceMs = 50;

    /// <summary>With so many in the accept queue there is no grace. 512 are accepted in 8 graces.</summary>
    private const int Crowd = 512;

    /// <summary>For a burst: if the queue is full a client connects again a second later.</summary>
    private const int Backlog = 4096;

    /// <summary>For answers that are under way at the stop: a scraper that does not read must not
    /// hold it.</summary>
    private const int StopMs = 1_000;

    /// <summary>Accepted at most before the others are looked at again.</summary>
    private const int AcceptsInARow = 128;

    /// <summary>After an accept for which there was no descriptor.</summary>
    private const int ShortageMs = 20;

    private readonly Socket _listener = new(MetricsPort.EndPointOf(options.Monitoring).AddressFamily,
        SocketType.Stream, ProtocolType.Tcp);
    private readonly PollSet _poll = new(Most + 1);
    private readonly ILogger _logger = logger;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>By the time of their accept.</summary>
    private readonly List<MetricsConnection> _connections = new(Most);
    private volatile bool _stops;
    private long _acceptFromMs;
    private bool _hasStarted;
    private bool _hasFailed;

    /// <exception cref="SocketException">The port cannot be listened on.</exception>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        var endPoint = MetricsPort.EndPointOf(options.Monitoring);
        if (endPoint.Address.Equals(IPAddress.IPv6Any))
            _listener.DualMode = true;
        _listener.Bind(endPoint);
        _listener.Listen(Backlog);
        _listener.Blocking = false;
        var thread = new Thread(Run, maxStackSize: 512 * 1024) { Name = "metrics port", IsBackground = true };
        thread.UnsafeStart();
        _hasStarted = true;
        return Task.CompletedTask;
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        if (!_hasStarted)
            return;
        _stops = true;
        // Wakes the thread: poll(2) reports a listener that was shut down.
        _listener.Shutdown(SocketShutdown.Both);
        await _ended.Task.WaitAsync(cancellationToken).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
    }

    public void Dispose() => _listener.Dispose();

    private void Run()
    {
        while (!_stops)
            Guarded(Turn);
        var stopMs = Environment.TickCount64 + StopMs;
        while (_connections.Exists(c => c.Wait is MetricsWait.Answer or MetricsWait.Reader)
            && Environment.TickCount64 < stopMs)
        {
            Guarded(Turn);
        }

        _connections.ForEach(c => c.Dispose());
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
                LogFault(_logger, e);
            _hasFailed = true;
            Thread.Sleep(ShortageMs);
        }
    }

    private void Turn()
    {
        var nowMs = Environment.TickCount64;
        var accepts = !_stops && nowMs >= _acceptFromMs;
        _poll.Clear();
        _poll.Add(accepts ? _listener : null, PollSet.In);
        foreach (var connection in _connections)
            _poll.Add(connection.Socket, EventsOf(connection));
        _poll.Wait(TimeoutMs(nowMs));
        nowMs = Environment.TickCount64;
        for (var i = 0; i < _connections.Count; i++)
            _connections[i].Move(_poll.Result(i + 1), nowMs);
        RemoveClosed();
        if (accepts && _poll.Result(0) != 0)
            Accept(nowMs);
        answers.BeginTurn();
        foreach (var connection in _connections)
            Answer(connection, nowMs);
        RemoveClosed();
    }

    private static short EventsOf(MetricsConnection connection) => connection.Wait switch
    {
        MetricsWait.Reader => PollSet.Out,
        MetricsWait.Answer => 0,
        _ => PollSet.In,
    };

    private int TimeoutMs(long nowMs)
    {
        var due = _acceptFromMs > nowMs && !_stops ? _acceptFromMs : long.MaxValue;
        foreach (var connection in _connections)
        {
            if (connection.MayHaveMore)
                return 0;
            due = Math.Min(due, connection.Wait == MetricsWait.Answer ? nowMs + 1 : connection.DeadlineMs);
        }

        return due == long.MaxValue ? -1 : (int)Math.Clamp(due - nowMs, 0, int.MaxValue);
    }

    private void Answer(MetricsConnection connection, long nowMs)
    {
        try
        {
            // After the accept: whoever sends many at once gives way with one answered.
            if (connection.MayHaveMore)
                connection.Take(nowMs);
            if (connection.Request is null || connection.IsClosed)
                return;
            answers.Answer(connection, nowMs);
            // It may give way now.
            if (connection.IsServed)
                _acceptFromMs = 0;
        }
        catch
        {
            connection.Close();
            throw;
        }
    }

    private void Accept(long nowMs)
    {
        for (var i = 0; i < AcceptsInARow && _listener.Poll(0, SelectMode.SelectRead); i++)
        {
            if (_connections.Count == Most && !MakeRoom(nowMs))
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

            Begin(socket, nowMs);
        }
    }

    private void Begin(Socket socket, long nowMs)
    {
        MetricsConnection connection;
        try
        {
            socket.Blocking = false;
            socket.NoDelay = true;
            connection = new MetricsConnection(socket, nowMs);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        _connections.Add(connection);
        // Most often the request is there by now.
        connection.Move(PollSet.In, nowMs);
        RemoveClosed();
    }

    /// <summary>Closes one connection, so that another may come.</summary>
    /// <returns>False if none may be closed now; accepting waits until one may.</returns>
    private bool MakeRoom(long nowMs)
    {
        if (FirstThatMayGo(nowMs) is not { } first)
            return false;
        first.Close();
        RemoveClosed();
        return true;
    }

    private MetricsConnection? FirstThatMayGo(long nowMs)
    {
        foreach (var served in _connections)
        {
            if (served is { IsServed: true, Wait: MetricsWait.Request or MetricsWait.End }
                && !HasSentMeanwhile(served, nowMs))
                return served;
        }

        var isCrowd = TcpInfo.Queued(_listener) >= Crowd;
        foreach (var first in _connections)
        {
            if (first.Wait == MetricsWait.Answer || HasSentMeanwhile(first, nowMs))
                continue;
            if (first.IsClosed || isCrowd || nowMs >= first.ArrivedMs + GraceMs)
                return first;
            _acceptFromMs = first.ArrivedMs + GraceMs;
            return null;
        }

        // Each waits for its answer.
        _acceptFromMs = nowMs + 1;
        return null;
    }

    /// <summary>Has its request come since it was looked at?</summary>
    private static bool HasSentMeanwhile(MetricsConnection connection, long nowMs)
    {
        if (connection.Wait == MetricsWait.Request && !connection.MayHaveMore)
            connection.Move(PollSet.In, nowMs);
        return connection.Wait == MetricsWait.Answer;
    }

    private void RemoveClosed()
    {
        for (var i = _connections.Count - 1; i >= 0; i--)
        {
            if (!_connections[i].IsClosed)
                continue;
            _connections[i].Dispose();
            _connections.RemoveAt(i);
            _acceptFromMs = 0;
        }
    }

    [LoggerMessage(EventId = 60, Level = LogLevel.Error, Message = "a fault at the metrics port")]
    private static partial void LogFault(ILogger logger, Exception exception);
}
