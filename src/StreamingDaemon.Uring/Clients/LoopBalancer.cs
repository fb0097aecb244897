using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Clients;

/// <summary>Gives each client to the loop that has the fewest. Owned by the loop that accepts.</summary>
/// <param name="own">Of the loop that accepts.</param>
/// <param name="others">Of the loops that do not.</param>
internal sealed class LoopBalancer(ClientTable own, ClientTable[] others)
{
    /// <summary>Starts a client, or passes it to another loop's thread.</summary>
    /// <param name="client">Its place is taken, and given back if this fails.</param>
    /// <param name="handoff">Its handoff data, copied.</param>
    /// <returns>False if the loop has failed, and so has the server; then the descriptor is still the
    /// caller's.</returns>
    public bool TryServe(in ReceivedClient client, ReadOnlySpan<byte> handoff)
    {
        var table = LeastLoaded();
        var data = table.Loop.Buffers.Rent(handoff.Length);
        data.Append(handoff);
        return table.TryGive(client with { Data = data }, isOwn: table == own);
    }

    /// <summary>Nobody will be passed to the others any more: they end when their last client has.</summary>
    public void DismissOthers()
    {
        foreach (var table in others)
            table.Loop.Mailbox.Request(LoopRequests.Drain);
    }

    private ClientTable LeastLoaded()
    {
        var least = own;
        foreach (var table in others)
        {
            if (table.Load < least.Load)
                least = table;
        }

        return least;
    }
}
