using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Clients;

/// <summary>Gives each client to the loop that has the fewest. Owned by the loop that accepts.</summary>
/// <param name="own">Clients of the loop that accepts.</param>
/// <param name="others">Clients of the other loops.</param>
internal sealed class LoopBalancer(ClientTable own, ClientTable[] others)
{
    /// <summary>Starts a client, or passes it to another loop's thread.</summary>
    /// <param name="client">Its place is taken; if this fails, the place is given back.</param>
    /// <param name="handoff">Its handoff data, copied.</param>
    /// <returns>False if the loop has failed, and with it the server; the caller then keeps the
    /// descriptor.</returns>
    public bool TryServe(in ReceivedClient client, ReadOnlySpan<byte> handoff)
    {
        var table = LeastLoaded();
        var data = table.Loop.Buffers.Rent(handoff.Length);
        data.Append(handoff);
        return table.TryGive(client with { Data = data }, isOwn: table == own);
    }

    /// <summary>The others get no more clients: each ends when its last client has.</summary>
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
