using Microsoft.AspNetCore.Connections;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Holds the connections of the metrics port to a number, so that they take no descriptors from the streams.
/// Who has been there for longest gives way to who comes: requests take milliseconds, and a probe must get in
/// however many say nothing. Any thread.
/// </summary>
internal sealed class MetricsConnections
{
    /// <summary>A scraper, probes and a person with a browser are not ten. Within the headroom of
    /// <see cref="Uring.DescriptorBudget"/>.</summary>
    public const int Most = 64;

    private readonly Lock _gate = new();
    private readonly LinkedList<ConnectionContext> _byAge = new();

    /// <summary>A Kestrel connection from its accept to its end.</summary>
    public async Task ServeAsync(ConnectionContext connection, ConnectionDelegate next)
    {
        var oldest = Add(connection, out var place);
        oldest?.Abort(new ConnectionAbortedException("gave way to another connection"));
        try
        {
            await next(connection).ConfigureAwait(false);
        }
        finally
        {
            lock (_gate)
                place.List?.Remove(place);
        }
    }

    /// <returns>Who is too many.</returns>
    private ConnectionContext? Add(ConnectionContext connection, out LinkedListNode<ConnectionContext> place)
    {
        lock (_gate)
        {
            place = _byAge.AddLast(connection);
            if (_byAge.Count <= Most)
                return null;
            var oldest = _byAge.First!.Value;
            _byAge.RemoveFirst();
            return oldest;
        }
    }
}
