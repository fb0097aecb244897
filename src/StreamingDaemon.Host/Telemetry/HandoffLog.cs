using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>What is said of handoffs beside the access log. Whoever may connect to the socket can cause each
/// of these lines at will: of each kind only some are written, and the rest counted.</summary>
internal sealed class HandoffLog(LogSampler samples, ILogger<HandoffLog> logger)
{
    private readonly ILogger _logger = logger;

    /// <summary>There is no client to answer.</summary>
    public void Dropped(HandoffRejection reason, HandoffPeer peer)
    {
        // A browser that gave up while PHP was at work is every day's business.
        if (reason == HandoffRejection.ClientGone)
            _logger.ClientGoneBeforeHandoff();
        else if (!samples.Admits($"handoff dropped: {reason}"))
            return;
        else if (reason == HandoffRejection.DescriptorsTruncated)
            _logger.DescriptorDenied(reason, peer.UserId, peer.GroupId, peer.ProcessId);
        else
            _logger.HandoffDropped(reason, peer.UserId, peer.GroupId, peer.ProcessId);
    }

    /// <summary>Fields that are not what they should be.</summary>
    public void Unusable(IReadOnlyList<string> fields, string requestId)
    {
        if (samples.Admits("ignored unusable handoff fields"))
            _logger.UnusableFields(string.Join(", ", fields), requestId);
    }

    /// <param name="backend">As the handoff has it.</param>
    /// <param name="used">The backend that answers instead.</param>
    /// <param name="requestId">Of the handoff.</param>
    public void UnknownBackend(string backend, string used, string requestId)
    {
        if (samples.Admits("backend is not configured"))
            _logger.UnknownBackend(AccessLog.Printable(backend), used, requestId);
    }

    /// <summary>Somebody holds what was handed over.</summary>
    public void ThreadReplaced(HungWork work)
    {
        if (!samples.Admits($"another thread took over: {work}"))
            return;
        switch (work)
        {
            case HungWork.Release:
                _logger.CloseHangs();
                break;
            case HungWork.Check:
                _logger.SocketCheckHangs();
                break;
            case HungWork.Loop:
                _logger.LoopThreadReplaced();
                break;
        }
    }

    public void Fault(Exception exception)
    {
        if (samples.Admits($"a fault in the daemon: {exception.GetType().Name}"))
            _logger.DaemonFault(exception);
    }

    public void BackendFault(Exception exception, string backend, string requestId)
    {
        if (samples.Admits($"backend {backend} failed: {exception.GetType().Name}"))
            _logger.BackendFault(exception, backend, requestId);
    }
}
