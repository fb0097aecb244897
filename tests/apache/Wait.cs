using System.Diagnostics;

namespace StreamingDaemon.ApacheTests;

internal static class Wait
{
    /// <summary>Generous: only spent if something is broken.</summary>
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(30);

    public static void Until(Func<bool> condition, Func<string> otherwise, TimeSpan? limit = null)
    {
        var watch = Stopwatch.StartNew();
        while (!condition())
        {
            if (watch.Elapsed > (limit ?? Limit))
                throw new TimeoutException(otherwise());
            Thread.Sleep(10);
        }
    }
}
