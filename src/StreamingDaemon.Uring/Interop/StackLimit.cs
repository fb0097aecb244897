using System.Runtime.InteropServices;

namespace StreamingDaemon.Uring.Interop;

/// <summary>RLIMIT_STACK of getrlimit(2): the stack of a thread that sets no size.</summary>
internal static unsafe partial class StackLimit
{
    public const int Resource = 3;

    [LibraryImport("libc", EntryPoint = "getrlimit")]
    private static partial int GetLimit(int resource, ulong* limits);

    /// <summary>The soft limit, in bytes.</summary>
    public static ulong Read()
    {
        var limits = stackalloc ulong[2];
        return GetLimit(Resource, limits) == 0 ? limits[0] : ulong.MaxValue;
    }
}
