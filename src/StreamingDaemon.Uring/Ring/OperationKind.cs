namespace StreamingDaemon.Uring.Ring;

/// <summary>What a completion belongs to: the top byte of its <c>user_data</c>.</summary>
internal enum OperationKind : byte
{
    None,
    Wake,
    Accept,
    ListenerWatch,
    HandoffReceive,
    ClientWatch,
    ClientSend,
    ClientWritable,
    ClientReadable,
    ClientRead,
    ClientShutdown,
    ClientCloseNotify,
    Cancel,
}

/// <summary>
/// <c>user_data</c>: kind (8 bits), generation (24), slot (32). The generation tells a late completion of a
/// slot's previous user from one of its present user.
/// </summary>
internal static class OperationId
{
    public const uint GenerationMask = 0xFF_FFFF;

    public static ulong Pack(OperationKind kind, uint generation, int slot) =>
        ((ulong)kind << 56) | ((ulong)(generation & GenerationMask) << 32) | (uint)slot;

    public static OperationKind KindOf(ulong userData) => (OperationKind)(userData >> 56);

    public static uint GenerationOf(ulong userData) => (uint)(userData >> 32) & GenerationMask;

    /// <summary>Does it belong to the slot's present user?</summary>
    /// <param name="userData">Of a completion.</param>
    /// <param name="generation">The slot's, all 32 bits.</param>
    public static bool IsOf(ulong userData, uint generation) =>
        GenerationOf(userData) == (generation & GenerationMask);

    public static int SlotOf(ulong userData) => (int)(uint)userData;
}
