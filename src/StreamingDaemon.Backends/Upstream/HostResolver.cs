using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Finds a host's addresses. The system asks for those of IPv4 and of IPv6 in one call, and waits for both
/// answers. Some DNS servers and firewalls drop one of the questions (RFC 4074): that call then takes ten
/// seconds, or fails. So each family is also asked for alone if the answer is late. Safe for concurrent use.
/// </summary>
/// <param name="lookup">Asks the system; null for its own resolver.</param>
internal sealed class HostResolver(HostResolver.Lookup? lookup = null)
{
    /// <summary>A DNS server that answers needs less. If not, two more questions cost nothing.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(500);

    /// <summary>How long each family is asked for alone at once, after that was needed, ms.</summary>
    private const int AloneForMs = 10 * 60 * 1000;

    private readonly Lookup _lookup = lookup ?? Dns.GetHostAddressesAsync;
    private long _aloneUntil;

    /// <summary>Asks for the addresses of one family, or of any.</summary>
    public delegate Task<IPAddress[]> Lookup(
        string host, AddressFamily family, CancellationToken cancellationToken);

    /// <exception cref="SocketException">The name does not resolve.</exception>
    public async Task<IPAddress[]> ResolveAsync(string host, CancellationToken cancellationToken)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var both = _lookup(host, AddressFamily.Unspecified, end.Token);
        try
        {
            if (Environment.TickCount64 >= Volatile.Read(ref _aloneUntil)
                && await Task.WhenAny(both, Task.Delay(s_patience, end.Token)) == both)
            {
                return await both;
            }

            return await FirstAsync(both, _lookup(host, AddressFamily.InterNetwork, end.Token),
                _lookup(host, AddressFamily.InterNetworkV6, end.Token));
        }
        finally
        {
            await end.CancelAsync();
        }
    }

    /// <summary>The first answer with addresses. A family that the host does not have is an error or an empty
    /// answer.</summary>
    private async Task<IPAddress[]> FirstAsync(params Task<IPAddress[]>[] lookups)
    {
        var pending = lookups.ToList();
        while (true)
        {
            var done = await Task.WhenAny(pending);
            pending.Remove(done);
            if (done.IsCompletedSuccessfully && done.Result.Length > 0)
            {
                if (done != lookups[0])
                    Volatile.Write(ref _aloneUntil, Environment.TickCount64 + AloneForMs);
                return done.Result;
            }

            // What the one for both families says counts.
            if (pending.Count == 0 || done == lookups[0])
                return await lookups[0];
        }
    }
}
