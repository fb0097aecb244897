using StreamingDaemon.Host.Runtime;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// Gives up a look at the spool if its file system does not answer. Its path was looked at with the
/// configuration, but a directory may answer while nothing in it does. One that answers may be slow: on a
/// busy disk fsync(2) takes seconds, and so does listing many deliveries.
/// </summary>
internal static class SpoolPatience
{
    private static readonly TimeSpan s_dead = TimeSpan.FromSeconds(1.5);
    private static readonly TimeSpan s_slow = TimeSpan.FromSeconds(30);

    /// <summary>Looks on a thread of its own.</summary>
    /// <param name="spool">Is first asked what is in it.</param>
    /// <param name="look">Returns null, or what is wrong. May hang. It calls its argument for each answer of
    /// the file system.</param>
    /// <returns>What the look returned, or that it did not return.</returns>
    public static string? Look(DeliverySpool spool, Func<Action, string?> look)
    {
        var result = new Result();
        RunWithTimeout.Invoke(() => result.Set(Try(spool, look, result.OnAnswer)), s_dead);
        if (result.WaitWhileAnswering())
            return result.Problem;
        var patience = result.HasAnswered ? s_slow : s_dead;
        return $"{spool.Directory}: its file system did not answer within {patience.TotalSeconds} s, as with "
            + "a dead NFS or FUSE server. Fix it, or choose another directory in delivery.spool_dir";
    }

    private static string? Try(DeliverySpool spool, Func<Action, string?> look, Action onAnswer)
    {
        try
        {
            Open(Path.Combine(spool.Directory, "pending"));
            onAnswer();
            return look(onAnswer);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message;
        }
    }

    /// <summary>A file system that answers opens a directory at once, and says what is in it first.</summary>
    private static void Open(string directory)
    {
        try
        {
            _ = Directory.EnumerateFileSystemEntries(directory).Any();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // That is an answer too. The look says what is wrong.
        }
    }

    private sealed class Result
    {
        private readonly object _gate = new();
        private long _answeredMs = -1;
        private bool _isSet;

        public string? Problem { get; private set; }

        public bool HasAnswered => Volatile.Read(ref _answeredMs) >= 0;

        public void OnAnswer() => Volatile.Write(ref _answeredMs, Environment.TickCount64);

        public void Set(string? problem)
        {
            lock (_gate)
            {
                (Problem, _isSet) = (problem, true);
                Monitor.Pulse(_gate);
            }
        }

        /// <returns>False if no answer came for too long.</returns>
        public bool WaitWhileAnswering()
        {
            lock (_gate)
            {
                while (!_isSet && HasAnswered && LeftMs() is > 0 and var left)
                    Monitor.Wait(_gate, TimeSpan.FromMilliseconds(left));
                return _isSet;
            }
        }

        private long LeftMs() =>
            Volatile.Read(ref _answeredMs) + (long)s_slow.TotalMilliseconds - Environment.TickCount64;
    }
}
