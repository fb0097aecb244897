namespace StreamingDaemon.Testing.Chaos;

/// <summary>The daemons' spool of deliveries, as its directory shows it.</summary>
public sealed class KeptSpool(string directory)
{
    /// <summary>A daemon looks at the whole directory each minute: it may have missed what a daemon wrote that
    /// was killed at once.</summary>
    public const int UnseenMs = 65_000;

    /// <summary>One that is due is sent within this time: the daemons look twice a second.</summary>
    public const int IdleMs = 10_000;

    /// <summary>Files of a state.</summary>
    /// <param name="state"><c>pending</c> or <c>dead</c>.</param>
    public int Count(string state) => Names(state).Count;

    /// <summary>Waits until nothing is pending. The receiver takes everything now, so each waits no longer than
    /// its own pause.</summary>
    /// <param name="attempts">What the receiver did with each.</param>
    /// <returns>Null, or which one lies there without a reason.</returns>
    public async Task<string?> DrainAsync(KeptAttempts attempts)
    {
        while (true)
        {
            var pending = Names("pending");
            if (pending.Count == 0)
                return null;
            var idleMs = attempts.NowMs - attempts.LastMs;
            // Of each user only the oldest is to be sent.
            foreach (var id in pending.GroupBy(name => name.User).Select(one => one.MinBy(name => name.Order).Id))
            {
                var why = attempts.WhyWaits(id, out var isTried, out var overdueMs);
                var limit = isTried ? IdleMs : UnseenMs;
                if (overdueMs > limit && idleMs > limit)
                    return $"{id} lies there, of {pending.Count}, due for {overdueMs} ms: it {why}";
            }

            await Task.Delay(200);
        }
    }

    /// <summary>File names: order, user, id.</summary>
    private List<(string Order, string User, string Id)> Names(string state) =>
        [.. Directory.GetFiles(Path.Combine(directory, state), "*.json").Select(path =>
        {
            var parts = Path.GetFileNameWithoutExtension(path).Split('-');
            return (parts[0], parts[1], parts[2]);
        })];
}
