using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// The deliveries that are not sent again, and their limits: the oldest go first. They are kept for an
/// operator who fixes the receiver, not for ever: answers are in them as plain text. Its process is the one
/// that sends.
/// </summary>
internal sealed class DeadLetters(
    DeliverySpool spool, ReloadableOptions options, DeliveryMetrics metrics, DeliveryLog log)
{
    private long _nextTrimMs;
    private bool _isChanged = true;

    /// <summary>A delivery became one. Thread-safe.</summary>
    public void Add(string id, string reason)
    {
        metrics.OnDead();
        log.Dead(id, reason);
        Volatile.Write(ref _isChanged, true);
    }

    /// <summary>Removes what is over the limits; twice a second at most.</summary>
    /// <param name="nowMs">The time, as <see cref="Environment.TickCount64"/>.</param>
    /// <param name="isDue">Look, whether anything is known to have changed or not.</param>
    public void Trim(long nowMs, bool isDue)
    {
        if (!isDue && (!Volatile.Read(ref _isChanged) || nowMs < _nextTrimMs))
            return;
        Volatile.Write(ref _isChanged, false);
        _nextTrimMs = nowMs + SpoolWatch.LookMs;
        var delivery = options.Current.Delivery;
        var letters = spool.DeadLetters();
        letters.Sort(static (one, other) =>
            (one.Since, one.Name.Order).CompareTo((other.Since, other.Name.Order)));
        var bytes = letters.Sum(letter => letter.Bytes);
        var oldest = DateTime.UtcNow - TimeSpan.FromHours(delivery.MaxDeadAgeH);
        var dropped = 0;
        foreach (var letter in letters)
        {
            var isOld = delivery.MaxDeadAgeH > 0 && letter.Since < oldest;
            if (!isOld && bytes <= delivery.MaxDeadBytes)
                break;
            spool.RemoveDead(letter.Name);
            bytes -= letter.Bytes;
            dropped++;
        }

        metrics.OnDeadTrimmed(letters.Count - dropped, bytes, dropped);
        if (dropped > 0)
            log.DeadDropped(dropped, spool.Directory);
    }
}
