namespace StreamingDaemon.Uring.Loop;

internal enum OutboundKind
{
    Data = 0,
    Complete = 1,
    Abort = 2,

    /// <summary>Data, and the rest of its flush is still to come.</summary>
    Piece = 3,
}

/// <summary>What travels in the Channel from the producers to the loop: bytes for one client, or its
/// end.</summary>
/// <param name="Stream">The client.</param>
/// <param name="Buffer">Rented from the shared pool; the loop returns it. Null for an end.</param>
/// <param name="Length">Bytes in use.</param>
/// <param name="Kind">Bytes or an end.</param>
internal readonly record struct OutboundWrite(ClientStream Stream, byte[]? Buffer, int Length,
    OutboundKind Kind);
