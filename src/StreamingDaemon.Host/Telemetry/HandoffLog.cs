using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>Log lines about handoffs, besides the access log. Any process that may connect to the socket can
/// cause them at will, so <see cref="LogSampler"/> limits each kind.</summary>
internal sealed class HandoffLog(LogSampler samples, ILogger<HandoffLog> logger)
{
    private readonly ILogger _logger = logger;

    /// <summary>A handoff was dropped, and there is no client to answer.</summary>
    public void Dropped(HandoffRejection reason, HandoffPeer peer)
    {
        // Normal: the browser gave up while PHP was still working.
        if (reason == HandoffRejection.ClientGone)
            _logger.ClientGoneBeforeHandoff();
        else if (!samples.Admits($"handoff dropped: {reason}"))
            return;
        else if (reason == HandoffRejection.DescriptorsTruncated)
            _logger.DescriptorDenied(reason, peer.UserId, peer.GroupId, peer.ProcessId);
        else
            _logger.HandoffDropped(reason, peer.UserId, peer.GroupId, peer.ProcessId);
    }

    /// <summary>Some fields of a handoff could not be used.</summary>
    public void Unusable(IReadOnlyList<string> fields, string requestId)
    {
        if (samples.Admits("ignored unusable handoff fields"))
            _logger.UnusableFields(string.Join(", ", fields), requestId);
    }

    /// <summary>Some fields of a handoff are unknown, and the backend does not send them.</summary>
    public void UnknownFields(IReadOnlyList<string> fields, string requestId)
    {
        if (samples.Admits("ignored unknown handoff fields"))
            _logger.UnknownFields(string.Join(", ", fields.Select(AccessLog.Printable)), requestId);
    }

    /// <summary>A handoff names a backend that is not configured.</summary>
    /// <param name="backend">The name in the handoff.</param>
    /// <param name="used">The backend that answers instead.</param>
    /// <param name="requestId">The handoff's request id.</param>
    public void UnknownBackend(string backend, string used, string requestId)
    {
        if (samples.Admits("backend is not configured"))
            _logger.UnknownBackend(AccessLog.Printable(backend), used, requestId);
    }

    /// <summary>A thread hangs because another process holds a descriptor that was handed over.</summary>
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
