using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Opens TCP connections to a host with several addresses (RFC 8305, "Happy Eyeballs"): families take turns,
/// each address has a head start of 250 ms before the next, and the first to connect wins. Safe for
/// concurrent use.
/// </summary>
/// <remarks>
/// The host's order is kept, which spreads connections over its addresses. Only an address that another one
/// overtook goes to the end, or each stream would wait for it.
/// </remarks>
internal sealed class Dialer
{
    /// <summary>RFC 8305, section 5: Connection Attempt Delay.</summary>
    private static readonly TimeSpan s_headStart = TimeSpan.FromMilliseconds(250);

    /// <summary>How long an overtaken address stays at the end, ms.</summary>
    private const int SlowForMs = 10 * 60 * 1000;

    private const int MostSlow = 64;

    /// <summary>A silent connection is probed after 5 s, and is dead after two more probes without an
    /// answer.</summary>
    private const int KeepAliveAfterS = 5;
    private const int KeepAliveEachS = 2;
    private const int KeepAliveProbes = 3;

    /// <summary>Bytes that are not acknowledged for this long end the connection. Not sooner: bytes that a
    /// busy server does not read count too, because its window is closed.</summary>
    private const int UnacknowledgedMs = 15_000;

    private readonly Resolver _resolve;

    /// <summary>Overtaken addresses, and when each counts as any other again (TickCount64).</summary>
    private readonly Dictionary<IPAddress, long> _slow = [];

    /// <param name="resolve">Finds a host's addresses; null for the system's resolver.</param>
    public Dialer(Resolver? resolve = null) => _resolve = resolve ?? new HostResolver().ResolveAsync;

    /// <summary>Finds a host's addresses, the best first.</summary>
    public delegate Task<IPAddress[]> Resolver(string host, CancellationToken cancellationToken);

    /// <summary>Resolves the name and connects.</summary>
    /// <exception cref="SocketException">The name does not resolve, or no address can be reached.</exception>
    public async ValueTask<Socket> ConnectAsync(EndPoint host, CancellationToken cancellationToken)
    {
        if (host is not DnsEndPoint named)
            return await ConnectToAsync(host, cancellationToken);
        if (IPAddress.TryParse(named.Host, out var literal))
            return await ConnectToAsync(new IPEndPoint(Unmapped(literal), named.Port), cancellationToken);
        var addresses = await _resolve(named.Host, cancellationToken);
        if (addresses.Length == 0)
            throw new SocketException((int)SocketError.HostNotFound);
        var endPoints = Array.ConvertAll(InTurns(Array.ConvertAll(addresses, Unmapped), IsSlow),
            address => new IPEndPoint(address, named.Port));
        return endPoints.Length == 1
            ? await ConnectToAsync(endPoints[0], cancellationToken)
            : await RaceAsync(endPoints, cancellationToken);
    }

    /// <summary>The addresses with their families in turns (RFC 8305, section 4), the first one's first;
    /// the slow ones last.</summary>
    internal static IPAddress[] InTurns(IReadOnlyList<IPAddress> addresses, Predicate<IPAddress> isSlow)
    {
        var counts = new Dictionary<AddressFamily, int>();
        return [.. addresses.Distinct()
            .Select(address =>
            {
                var turn = counts.GetValueOrDefault(address.AddressFamily);
                counts[address.AddressFamily] = turn + 1;
                var isSecond = address.AddressFamily != addresses[0].AddressFamily;
                return (Address: address, Turn: turn, IsSecond: isSecond);
            })
            .OrderBy(entry => isSlow(entry.Address))
            .ThenBy(entry => entry.Turn)
            .ThenBy(entry => entry.IsSecond)
            .Select(entry => entry.Address)];
    }

    /// <summary>An IPv4 address in IPv6's form (RFC 4291, section 2.5.5.2) as what it is: a socket of IPv6
    /// does not reach it.</summary>
    private static IPAddress Unmapped(IPAddress address) =>
        address.IsIPv4MappedToIPv6 ? address.MapToIPv4() : address;

    private static async Task<Socket> ConnectToAsync(EndPoint address, CancellationToken cancellationToken)
    {
        var socket = new Socket(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            socket.NoDelay = true;
            await socket.ConnectAsync(address, cancellationToken);
            NoticeDeath(socket);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Has the kernel end a connection whose peer does not answer any more, as HTTP/2's pings do.
    /// Over HTTP/1.1 nothing else would: a pooled connection that died would cost a reader the whole
    /// <c>first_token_timeout_ms</c>.</summary>
    private static void NoticeDeath(Socket socket)
    {
        socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.KeepAlive, true);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveTime, KeepAliveAfterS);
        socket.SetSocketOption(SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveInterval, KeepAliveEachS);
        socket.SetSocketOption(
            SocketOptionLevel.Tcp, SocketOptionName.TcpKeepAliveRetryCount, KeepAliveProbes);
        // tcp(7). Keep-alives are not sent while a request is not acknowledged.
        const int ipProtoTcp = 6, tcpUserTimeout = 18;
        socket.SetRawSocketOption(ipProtoTcp, tcpUserTimeout, BitConverter.GetBytes(UnacknowledgedMs));
    }

    private async Task<Socket> RaceAsync(IPEndPoint[] addresses, CancellationToken cancellationToken)
    {
        using var race = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var running = new Dictionary<Task, IPEndPoint>();
        SocketException? failure = null;
        try
        {
            for (var next = 0; ;)
            {
                if (next < addresses.Length)
                    running.Add(ConnectToAsync(addresses[next], race.Token), addresses[next++]);
                var ended = await FirstEndAsync(running.Keys, next < addresses.Length, race.Token);
                if (ended is null)
                    continue;
                running.Remove(ended, out var address);
                try
                {
                    var winner = await ended;
                    Remember(address!, running.Values);
                    return winner;
                }
                catch (SocketException exception)
                {
                    failure = MoreTelling(failure, exception);
                }

                if (running.Count == 0 && next == addresses.Length)
                    throw failure;
            }
        }
        finally
        {
            await race.CancelAsync();
            foreach (var loser in running.Keys)
                _ = CloseAsync((Task<Socket>)loser);
        }
    }

    /// <returns>The attempt that ended first; null if another one may begin before that.</returns>
    private static async Task<Task<Socket>?> FirstEndAsync(
        ICollection<Task> running, bool hasNext, CancellationToken cancellationToken)
    {
        if (!hasNext)
            return (Task<Socket>)await Task.WhenAny(running);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var headStart = Task.Delay(s_headStart, ended.Token);
        var first = await Task.WhenAny([.. running, headStart]);
        await ended.CancelAsync();
        return first as Task<Socket>;
    }

    private static async Task CloseAsync(Task<Socket> loser)
    {
        try
        {
            (await loser).Dispose();
        }
        catch (Exception exception) when (exception is SocketException or OperationCanceledException)
        {
            // It never connected.
        }
    }

    /// <summary>A refused connection says more than a family that has no route.</summary>
    private static SocketException MoreTelling(SocketException? one, SocketException other) =>
        one is not null && other.SocketErrorCode is SocketError.NetworkUnreachable
            or SocketError.HostUnreachable or SocketError.AddressNotAvailable
            or SocketError.AddressFamilyNotSupported ? one ?? other : other;

    private void Remember(IPEndPoint winner, ICollection<IPEndPoint> overtaken)
    {
        lock (_slow)
        {
            _slow.Remove(winner.Address);
            if (_slow.Count > MostSlow)
                _slow.Clear();
            foreach (var endPoint in overtaken)
                _slow[endPoint.Address] = Environment.TickCount64 + SlowForMs;
        }
    }

    private bool IsSlow(IPAddress address)
    {
        lock (_slow)
            return _slow.TryGetValue(address, out var until) && Environment.TickCount64 < until;
    }
}
