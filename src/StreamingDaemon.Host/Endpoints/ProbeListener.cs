using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>What Kestrel accepts from: the connections that <see cref="ProbeGate"/> let through.</summary>
internal sealed class ProbeListener : IConnectionListener
{
    private readonly ILogger _logger;
    private readonly ProbeGate _gate;
    private readonly SocketConnectionContextFactory _factory;

    /// <exception cref="System.Net.Sockets.SocketException">The port cannot be listened on.</exception>
    /// <exception cref="Uring.HandoffServerException">The system gives no thread.</exception>
    public ProbeListener(IPEndPoint endPoint, ILogger logger)
    {
        _logger = logger;
        _gate = new ProbeGate(endPoint, logger);
        // Inline: what Kestrel has written is in the kernel then, and needs no further turn of the pool.
        _factory = new SocketConnectionContextFactory(
            new SocketConnectionFactoryOptions
            {
                IOQueueCount = 1,
                UnsafePreferInlineScheduling = true,
                MaxReadBufferSize = 64 * 1024,
            }, logger);
    }

    public EndPoint EndPoint => _gate.EndPoint;

    public async ValueTask<ConnectionContext?> AcceptAsync(CancellationToken cancellationToken = default)
    {
        while (await _gate.Ready.WaitToReadAsync(cancellationToken).ConfigureAwait(false))
        {
            if (!_gate.Ready.TryRead(out var connection))
                continue;
            try
            {
                connection.Open(_factory);
                return connection;
            }
            catch (Exception e)
            {
                // Thrown, it would be the last that Kestrel accepts.
                _logger.MetricsConnectionLost(e);
                await connection.DisposeAsync().ConfigureAwait(false);
            }
        }

        return null;
    }

    /// <summary>The token may be cancelled before the call, and there is nothing to wait for.</summary>
    public async ValueTask UnbindAsync(CancellationToken cancellationToken = default) =>
        await _gate.StopAsync().ConfigureAwait(false);

    public async ValueTask DisposeAsync()
    {
        await _gate.DisposeAsync().ConfigureAwait(false);
        while (_gate.Ready.TryRead(out var connection))
            await connection.DisposeAsync().ConfigureAwait(false);
        _factory.Dispose();
    }
}
