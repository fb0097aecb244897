using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Looks at the spool, and gives up if its file system does not answer. The path was checked with
/// the configuration, but a directory may answer while the files in it do not.</summary>
internal static class SpoolPatience
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1.5);

    /// <param name="directory">The spool's directory, for the message.</param>
    /// <param name="look">Returns null, or what is wrong. May hang.</param>
    /// <returns>What the look returned, or a sentence if it did not return in time.</returns>
    public static string? Look(string directory, Func<string?> look)
    {
        var problem = $"{directory}: its file system did not answer within {s_patience.TotalSeconds} s, as "
            + "with a dead NFS or FUSE server. Fix it, or choose another directory in delivery.spool_dir";
        RunWithTimeout.Invoke(() => Volatile.Write(ref problem, Try(look)), s_patience);
        return Volatile.Read(ref problem);
    }

    private static string? Try(Func<string?> look)
    {
        try
        {
            return look();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }
}
