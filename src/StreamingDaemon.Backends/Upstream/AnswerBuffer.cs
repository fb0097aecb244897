using System.Buffers;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Buffers that grow with what an upstream sends: from the shared pool, if they are short. The pool keeps
/// what it got for ten seconds even if memory is short; the collector frees long ones at once.
/// </summary>
internal static class AnswerBuffer
{
    /// <summary>The longest that is the pool's, bytes.</summary>
    private const int LongestPooled = 16 * 1024;

    public static byte[] Rent(int least) =>
        least <= LongestPooled
            ? ArrayPool<byte>.Shared.Rent(least)
            : GC.AllocateUninitializedArray<byte>(least);

    /// <param name="buffer">Not used any more; empty if there is none.</param>
    public static void Return(byte[] buffer)
    {
        if (buffer.Length is > 0 and <= LongestPooled)
            ArrayPool<byte>.Shared.Return(buffer);
    }
}
