using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>The network namespaces of one loop's clients. Loop-owned.</summary>
/// <param name="cookieOf">Returns the namespace of a socket; null asks the kernel. Tests give their
/// own.</param>
internal sealed class Networks(Func<int, ulong>? cookieOf = null)
{
    /// <summary>How many namespaces without a client stay known. Usually it is one, Apache's.</summary>
    private const int MostIdle = 64;

    private readonly Dictionary<ulong, NetworkCost> _networks = [];
    private int _idle;

    /// <summary>A client begins.</summary>
    public NetworkCost Enter(int fd)
    {
        var cookie = cookieOf is null ? LinuxNative.GetNetworkCookie(fd) : cookieOf(fd);
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

    /// <summary>The trusted network that most clients are in, which is likely the site's.</summary>
    /// <returns>Null if there is none.</returns>
    public NetworkCost? LargestTrusted(long nowMs)
    {
        NetworkCost? largest = null;
        foreach (var network in _networks.Values)
        {
            if (network.Clients > (largest?.Clients ?? 0) && network.IsTrusted(nowMs))
                largest = network;
        }

        return largest;
    }

    /// <summary>A client has ended.</summary>
    public void Leave(NetworkCost network)
    {
        if (--network.Clients > 0)
            return;
        // A namespace that cost something is forgotten: if it returns, its calls are measured again.
        if (_idle < MostIdle && network is { IsProven: true, SpentNs: 0 })
            _idle++;
        else
            _networks.Remove(network.Cookie);
    }
}
