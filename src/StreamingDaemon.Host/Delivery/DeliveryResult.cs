namespace StreamingDaemon.Host.Delivery;

/// <summary>What an attempt means for the delivery.</summary>
internal enum DeliveryVerdict
{
    /// <summary>The receiver has it.</summary>
    Delivered,

    /// <summary>The receiver failed with this one: it is tried again, and the others go on.</summary>
    Failed,

    /// <summary>The receiver takes none now: it is tried again, and so are the others, later.</summary>
    Unavailable,

    /// <summary>The receiver will never take it.</summary>
    Refused,

    /// <summary>It has waited for longer than <c>max_age_h</c>: it is not sent again.</summary>
    Expired,

    /// <summary>Its file is not whole: nobody could use it, and it is not sent.</summary>
    Torn,

    /// <summary>Its file is gone: somebody dropped it, or another process has sent it.</summary>
    Gone,

    /// <summary>The daemon ends: the next one sends it.</summary>
    Cancelled,
}

/// <summary>How an attempt ended.</summary>
/// <param name="Verdict">What it means.</param>
/// <param name="Reason">In the daemon's own words; nothing of the receiver's text.</param>
/// <param name="RetryAfter">How long the receiver asks to wait; null if it did not say.</param>
internal readonly record struct DeliveryResult(
    DeliveryVerdict Verdict, string Reason = "", TimeSpan? RetryAfter = null)
{
    public static DeliveryResult NoMemory { get; } =
        new(DeliveryVerdict.Failed, "the process has no memory");
}
