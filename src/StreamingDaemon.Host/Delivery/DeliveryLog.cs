using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Log lines about deliveries. A receiver that is away would fill the disk with them, so
/// <see cref="LogSampler"/> limits each kind.</summary>
internal sealed class DeliveryLog(LogSampler samples, ILogger<DeliveryLog> logger)
{
    private readonly ILogger _logger = logger;
    private bool _saidElsewhere;

    /// <summary>An attempt failed, and is made again.</summary>
    public void Failed(string id, string reason, TimeSpan wait)
    {
        if (samples.Admits("a delivery failed"))
            _logger.DeliveryFailed(id, reason, wait.TotalSeconds);
    }

    /// <summary>A delivery will not be sent again.</summary>
    public void Dead(string id, string reason)
    {
        if (samples.Admits("a delivery is dead"))
            _logger.DeliveryDead(id, reason);
    }

    /// <summary>Dead letters were removed: they were too old, or too many.</summary>
    public void DeadDropped(int count, string directory)
    {
        if (samples.Admits("dead letters are dropped"))
            _logger.DeadLettersDropped(count, directory);
    }

    /// <summary>An answer could not be written to the spool.</summary>
    public void Lost(string requestId, string reason)
    {
        if (samples.Admits("an answer is not delivered"))
            _logger.AnswerNotDelivered(requestId, reason);
    }

    /// <summary>An earlier process has left deliveries.</summary>
    public void Waiting(int count, string directory) => _logger.DeliveriesWaiting(count, directory);

    /// <summary>Another process sends. Said once, until this one does.</summary>
    public void SentElsewhere(string directory)
    {
        if (!_saidElsewhere)
            _logger.DeliveriesElsewhere(directory);
        _saidElsewhere = true;
    }

    public void ReceiverIsBack()
    {
        if (samples.Admits("deliveries arrive again"))
            _logger.DeliveryReceiverBack();
    }

    /// <summary>A delivery has arrived, and its file cannot be removed.</summary>
    public void NotRemoved(string id, string directory)
    {
        if (samples.Admits("a delivery is not removed"))
            _logger.DeliveryNotRemoved(id, directory);
    }

    public void SpoolUnreadable(string directory, string reason)
    {
        if (samples.Admits("the spool is unreadable"))
            _logger.SpoolUnreadable(directory, reason);
    }
}
