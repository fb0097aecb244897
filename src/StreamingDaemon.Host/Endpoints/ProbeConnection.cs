using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>A connection that <see cref="ProbeGate"/> gave to Kestrel. Wraps Kestrel's connection, and knows
/// whether it may be ended to free its place. It holds the place until it is closed.</summary>
internal sealed class ProbeConnection(Socket socket, long arrival, long nowMs, KestrelPlaces places)
    : ConnectionContext
{
    /// <summary>How long Kestrel may take to begin the first request: as long as probes wait. Kestrel may
    /// find the head incomplete although the gate did not, and would wait for the rest.</summary>
    private const int BeginMs = 1_000;

    /// <summary>How long a client may take to read an answer once it has begun.</summary>
    private const int ReadMs = 250;

    private ConnectionContext? _inner;
    private bool _hasBegun;

    /// <summary>When the connection may be ended; <see cref="long.MaxValue"/> while it waits for an answer.
    /// </summary>
    private long _mayGoFromMs = nowMs + BeginMs;

    /// <summary>Its number in the order of the accepts.</summary>
    public long Arrival { get; } = arrival;

    /// <summary>When its request arrived, as <see cref="Stopwatch.GetTimestamp"/>.</summary>
    public long RequestedAt { get; private set; } = Stopwatch.GetTimestamp();

    /// <summary>True once it was ended to free its place; it closes a moment later.</summary>
    public bool IsPutOut { get; private set; }

    public override IDuplexPipe Transport
    {
        get => Inner.Transport;
        set => Inner.Transport = value;
    }

    public override string ConnectionId
    {
        get => Inner.ConnectionId;
        set => Inner.ConnectionId = value;
    }

    public override IFeatureCollection Features => Inner.Features;

    public override IDictionary<object, object?> Items
    {
        get => Inner.Items;
        set => Inner.Items = value;
    }

    public override CancellationToken ConnectionClosed
    {
        get => Inner.ConnectionClosed;
        set => Inner.ConnectionClosed = value;
    }

    public override EndPoint? LocalEndPoint
    {
        get => Inner.LocalEndPoint;
        set => Inner.LocalEndPoint = value;
    }

    public override EndPoint? RemoteEndPoint
    {
        get => Inner.RemoteEndPoint;
        set => Inner.RemoteEndPoint = value;
    }

    private ConnectionContext Inner => _inner ?? throw new InvalidOperationException("not open yet");

    /// <summary>Makes Kestrel's connection for the socket. Call it before Kestrel gets it.</summary>
    public void Open(SocketConnectionContextFactory factory)
    {
        _inner = factory.Create(socket);
        _inner.Features.Set(this);
    }

    /// <summary>True if it may be ended now to free its place.</summary>
    public bool MayGo(long nowMs) => !IsPutOut && nowMs >= Volatile.Read(ref _mayGoFromMs);

    /// <summary>A request has begun. Until its answer begins, the client waits for the daemon, so the
    /// connection may not be ended.</summary>
    /// <returns>True if it is the connection's first request.</returns>
    public bool BeginRequest(HttpResponse response)
    {
        Volatile.Write(ref _mayGoFromMs, long.MaxValue);
        var isFirst = !_hasBegun;
        _hasBegun = true;
        if (!isFirst)
            RequestedAt = Stopwatch.GetTimestamp();
        // If places are scarce, the connection closes after this answer.
        if (places.AreScarce)
            response.Headers.Connection = "close";
        response.OnStarting(static state =>
        {
            Volatile.Write(ref ((ProbeConnection)state)._mayGoFromMs, Environment.TickCount64 + ReadMs);
            return Task.CompletedTask;
        }, this);
        // By now the kernel has as much of the answer as the client's window allows.
        response.OnCompleted(static state =>
        {
            Volatile.Write(ref ((ProbeConnection)state)._mayGoFromMs, 0);
            return Task.CompletedTask;
        }, this);
        return isFirst;
    }

    /// <summary>Shuts the socket down in both directions, on the gate's thread. Bytes that the kernel has
    /// still reach the client. Kestrel notices it on a pool thread and closes the connection. An abort would
    /// do that work on the gate's thread.</summary>
    public void PutOut()
    {
        IsPutOut = true;
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The client has left meanwhile.
        }
    }

    public override void Abort(ConnectionAbortedException abortReason) => Inner.Abort(abortReason);

    public override async ValueTask DisposeAsync()
    {
        try
        {
            if (_inner is not null)
                await _inner.DisposeAsync().ConfigureAwait(false);
            await base.DisposeAsync().ConfigureAwait(false);
        }
        finally
        {
            socket.Dispose();
            places.Remove(this);
        }
    }
}
