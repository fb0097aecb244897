using System.Net;
using Microsoft.AspNetCore.Connections;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>Kestrel's transport: TCP behind <see cref="ProbeGate"/>.</summary>
internal sealed class ProbeGateTransport(ILoggerFactory loggers) : IConnectionListenerFactory
{
    /// <exception cref="System.Net.Sockets.SocketException">The port cannot be listened on.</exception>
    /// <exception cref="Uring.HandoffServerException">The system gives no thread.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken) =>
        ValueTask.FromResult<IConnectionListener>(
            new ProbeListener((IPEndPoint)endpoint, loggers.CreateLogger<ProbeGate>()));
}
