using System.Net;
using Microsoft.AspNetCore.Connections;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>Kestrel's transport: TCP behind <see cref="ProbeGate"/>.</summary>
internal sealed class ProbeGateTransport(ILoggerFactory loggers) : IConnectionListenerFactory
{
    /// <exception cref="System.Net.Sockets.SocketException">It cannot listen on the port.</exception>
    /// <exception cref="Uring.HandoffServerException">The system refuses a thread.</exception>
    public ValueTask<IConnectionListener> BindAsync(EndPoint endpoint, CancellationToken cancellationToken) =>
        ValueTask.FromResult<IConnectionListener>(
            new ProbeListener((IPEndPoint)endpoint, loggers.CreateLogger<ProbeGate>()));
}
