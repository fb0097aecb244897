using System.Net;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Transport.Sockets;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>Kestrel's listener: accepts the connections that <see cref="ProbeGate"/> lets through.</summary>
internal sealed class ProbeListener : IConnectionListener
{
    private readonly ILogger _logger;
    private readonly ProbeGate _gate;
    private readonly SocketConnectionContextFactory _factory;

    /// <exception cref="System.Net.Sockets.SocketException">It cannot listen on the port.</exception>
    /// <exception cref="Uring.HandoffServerException">The system refuses a thread.</exception>
    public ProbeListener(IPEndPoint endPoint, ILogger logger)
    {
        _logger = logger;
        _gate = new ProbeGate(endPoint, logger);
        // Inline: Kestrel's writes reach the kernel at once, without another turn of the thread pool.
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
                // Do not throw: Kestrel would stop accepting.
                _logger.MetricsConnectionLost(e);
                await connection.DisposeAsync().ConfigureAwait(false);
            }
        }

        return null;
    }

    /// <summary>Stops the gate. Ignores the token: it may be cancelled already, and the stop is fast.
    /// </summary>
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
