using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using System.Net.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>A connection that <see cref="ProbeGate"/> gave to Kestrel: Kestrel's own, which also knows
/// whether it may be put out. It holds its place until it is closed.</summary>
internal sealed class ProbeConnection(Socket socket, long arrival, long nowMs, KestrelPlaces places)
    : ConnectionContext
{
    /// <summary>For Kestrel to begin its first request: as long as probes wait. It may see no whole head in
    /// what the gate takes for one, and would wait for the rest.</summary>
    private const int BeginMs = 1_000;

    /// <summary>For an answer that has begun: a reader may take so long for it.</summary>
    private const int ReadMs = 250;

    private ConnectionContext? _inner;
    private bool _hasBegun;

    /// <summary>While an answer is owed there is no such time.</summary>
    private long _mayGoFromMs = nowMs + BeginMs;

    /// <summary>Its number in the order of the accepts.</summary>
    public long Arrival { get; } = arrival;

    /// <summary>When its request was here, as <see cref="Stopwatch.GetTimestamp"/>.</summary>
    public long RequestedAt { get; private set; } = Stopwatch.GetTimestamp();

    /// <summary>Was it put out? It is closed a moment later.</summary>
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

    /// <summary>Before Kestrel gets it.</summary>
    public void Open(SocketConnectionContextFactory factory)
    {
        _inner = factory.Create(socket);
        _inner.Features.Set(this);
    }

    public bool MayGo(long nowMs) => !IsPutOut && nowMs >= Volatile.Read(ref _mayGoFromMs);

    /// <summary>From the beginning of a request to that of its answer the daemon is who is waited for.
    /// </summary>
    /// <returns>False if it is not the connection's first.</returns>
    public bool BeginRequest(HttpResponse response)
    {
        Volatile.Write(ref _mayGoFromMs, long.MaxValue);
        var isFirst = !_hasBegun;
        _hasBegun = true;
        if (!isFirst)
            RequestedAt = Stopwatch.GetTimestamp();
        // Who has had an answer makes room for the others by itself, if there are many.
        if (places.AreScarce)
            response.Headers.Connection = "close";
        response.OnStarting(static state =>
        {
            Volatile.Write(ref ((ProbeConnection)state)._mayGoFromMs, Environment.TickCount64 + ReadMs);
            return Task.CompletedTask;
        }, this);
        // By now the kernel has all of it that the peer lets it have.
        response.OnCompleted(static state =>
        {
            Volatile.Write(ref ((ProbeConnection)state)._mayGoFromMs, 0);
            return Task.CompletedTask;
        }, this);
        return isFirst;
    }

    /// <summary>Ends it in both directions, by the gate's thread. What the kernel has still reaches the peer;
    /// Kestrel learns of it on a thread of the pool and closes it. An abort would do Kestrel's work here.
    /// </summary>
    public void PutOut()
    {
        IsPutOut = true;
        try
        {
            socket.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // It has left meanwhile.
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
