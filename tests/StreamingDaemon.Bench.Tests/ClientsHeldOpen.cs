using System.Net.Sockets;

namespace StreamingDaemon.Bench.Tests;

/// <summary>Clients that a fake daemon has not answered yet.</summary>
internal sealed class ClientsHeldOpen : IDisposable
{
    private readonly List<Socket> _clients = [];

    public void Add(Socket client)
    {
        lock (_clients)
            _clients.Add(client);
    }

    public List<Socket> Take()
    {
        lock (_clients)
            return [.. _clients];
    }

    public void Dispose() => Take().ForEach(c => c.Dispose());
}
