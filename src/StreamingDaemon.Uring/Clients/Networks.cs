using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Clients;

/// <summary>The network namespaces of one loop's clients. Loop-owned.</summary>
internal sealed class Networks
{
    /// <summary>Namespaces without a client that stay known: usually there is one, Apache's.</summary>
    private const int MostIdle = 64;

    private readonly Dictionary<ulong, NetworkCost> _networks = [];
    private int _idle;

    /// <summary>A client begins.</summary>
    public NetworkCost Enter(int fd)
    {
        var cookie = LinuxNative.GetNetworkCookie(fd);
        if (!_networks.TryGetValue(cookie, out var network))
        {
            network = new NetworkCost(cookie);
            _networks.Add(cookie, network);
        }
        else if (network.Clients == 0)
        {
            _idle--;
        }

        network.Clients++;
        return network;
    }

    /// <summary>A client has ended.</summary>
    public void Leave(NetworkCost network)
    {
        if (--network.Clients > 0)
            return;
        // One that cost something begins anew as one that is not known.
        if (_idle < MostIdle && network is { IsProven: true, SpentNs: 0 })
            _idle++;
        else
            _networks.Remove(network.Cookie);
    }
}
