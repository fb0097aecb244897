using System.Globalization;
using System.Text;

namespace StreamingDaemon.Uring.Interop;

/// <summary>Tells a thread that sleeps in the kernel from one that only waits for a core.</summary>
internal static class BlockedThread
{
    /// <summary>Does the thread of this process sleep in the kernel (proc_pid_stat(5), state S or
    /// D)?</summary>
    /// <param name="threadId">The kernel's number of it, gettid(2).</param>
    /// <returns>True too if /proc cannot be read: better one thread too many than none.</returns>
    public static bool Sleeps(int threadId)
    {
        try
        {
            var path = string.Create(CultureInfo.InvariantCulture, $"/proc/self/task/{threadId}/stat");
            var stat = Encoding.ASCII.GetString(File.ReadAllBytes(path));
            // The name before it may hold any character; the state is the first field after it.
            var state = stat.AsSpan(stat.LastIndexOf(')') + 1).TrimStart();
            return state.Length == 0 || state[0] is 'S' or 'D';
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return true;
        }
    }
}
