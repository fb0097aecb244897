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

    /// <summary>RFC 8305, section 3: Resolution Delay. The answer for one family waits so long for the
    /// other's.</summary>
    private static readonly TimeSpan s_resolutionDelay = TimeSpan.FromMilliseconds(50);

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
            var isAlone = Environment.TickCount64 < Volatile.Read(ref _aloneUntil);
            if (!isAlone && await Task.WhenAny(both, Task.Delay(s_patience, end.Token)) == both)
                return await both;
            Task<IPAddress[]>[] families =
            [
                _lookup(host, AddressFamily.InterNetwork, end.Token),
                _lookup(host, AddressFamily.InterNetworkV6, end.Token),
            ];
            var addresses = await FirstAsync(both, families, end.Token);
            // Not while it lasts, or it would never end: a question for one family is often answered first.
            if (!isAlone && !both.IsCompletedSuccessfully)
                Volatile.Write(ref _aloneUntil, Environment.TickCount64 + AloneForMs);
            return addresses;
        }
        finally
        {
            await end.CancelAsync();
        }
    }

    /// <summary>The answer for both families, or what there is a moment after one of them was found. A family
    /// that the host does not have is an error or an empty answer.</summary>
    private static async Task<IPAddress[]> FirstAsync(
        Task<IPAddress[]> both, Task<IPAddress[]>[] families, CancellationToken cancellationToken)
    {
        Task? delay = null;
        while (true)
        {
            IPAddress[] found =
                [.. families.Where(each => each.IsCompletedSuccessfully).SelectMany(each => each.Result)];
            if (both.IsCompletedSuccessfully || (both.IsCompleted && found.Length == 0))
                return await both;
            if (found.Length > 0)
            {
                if (delay is { IsCompleted: true } || families.All(each => each.IsCompleted))
                    return found;
                delay ??= Task.Delay(s_resolutionDelay, cancellationToken);
            }

            IEnumerable<Task> all = [both, .. families, delay ?? both];
            await Task.WhenAny(all.Where(each => !each.IsCompleted));
        }
    }
}
