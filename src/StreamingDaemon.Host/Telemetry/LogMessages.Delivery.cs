namespace StreamingDaemon.Host.Telemetry;

/// <content>Messages of deliveries.</content>
internal static partial class LogMessages
{
    // 80 to 89: deliveries.

    [LoggerMessage(EventId = 80, EventName = "DeliveryFailed", Level = LogLevel.Warning,
        Message = "delivery {Id} failed: {Reason}. It is sent again in {Seconds:0.0} s")]
    public static partial void DeliveryFailed(this ILogger logger, string id, string reason, double seconds);

    [LoggerMessage(EventId = 81, EventName = "DeliveryDead", Level = LogLevel.Error, Message =
        "delivery {Id} is not sent again: {Reason}. It is kept: streaming-daemon deliveries list")]
    public static partial void DeliveryDead(this ILogger logger, string id, string reason);

    [LoggerMessage(EventId = 82, EventName = "AnswerNotDelivered", Level = LogLevel.Error, Message =
        "the answer of request {RequestId} will not be delivered: it cannot be written to the spool: "
        + "{Reason}")]
    public static partial void AnswerNotDelivered(this ILogger logger, string requestId, string reason);

    [LoggerMessage(EventId = 83, EventName = "DeliveriesWaiting", Level = LogLevel.Information,
        Message = "{Count} deliveries wait in {Directory}")]
    public static partial void DeliveriesWaiting(this ILogger logger, int count, string directory);

    [LoggerMessage(EventId = 84, EventName = "DeliveriesElsewhere", Level = LogLevel.Information, Message =
        "another process sends the deliveries in {Directory}; this one takes over when it ends")]
    public static partial void DeliveriesElsewhere(this ILogger logger, string directory);

    [LoggerMessage(EventId = 85, EventName = "DeliveryReceiverBack", Level = LogLevel.Information,
        Message = "deliveries arrive again")]
    public static partial void DeliveryReceiverBack(this ILogger logger);

    [LoggerMessage(EventId = 86, EventName = "SpoolUnreadable", Level = LogLevel.Error,
        Message = "deliveries wait: {Directory} cannot be read: {Reason}")]
    public static partial void SpoolUnreadable(this ILogger logger, string directory, string reason);

    [LoggerMessage(EventId = 87, EventName = "DeadLettersDropped", Level = LogLevel.Warning, Message =
        "dropped the {Count} oldest dead letters of {Directory}: they were over delivery.max_dead_bytes or "
        + "delivery.max_dead_age_h")]
    public static partial void DeadLettersDropped(this ILogger logger, int count, string directory);
}
