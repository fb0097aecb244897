using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>What is said of handoffs beside the access log. Whoever may connect to the socket can cause each
/// of these lines at will: of each kind only some are written, and the rest counted.</summary>
internal sealed partial class HandoffLog(LogSampler samples, ILogger<HandoffLog> logger)
{
    private readonly ILogger _logger = logger;

    /// <summary>There is no client to answer.</summary>
    public void Dropped(HandoffRejection reason, HandoffPeer peer)
    {
        // A browser that gave up while PHP was at work is every day's business.
        if (reason == HandoffRejection.ClientGone)
            LogClientGone(_logger);
        else if (!samples.Admits($"handoff dropped: {reason}"))
            return;
        else if (reason == HandoffRejection.DescriptorsTruncated)
            LogCutOff(_logger, reason, peer.UserId, peer.GroupId, peer.ProcessId);
        else
            LogDropped(_logger, reason, peer.UserId, peer.GroupId, peer.ProcessId);
    }

    /// <summary>Fields that are not what they should be.</summary>
    public void Unusable(IReadOnlyList<string> fields, string requestId)
    {
        if (samples.Admits("of the handoff cannot be used, or not all of it"))
            LogUnusable(_logger, string.Join(", ", fields), requestId);
    }

    /// <param name="backend">As the handoff has it.</param>
    /// <param name="used">The backend that answers instead.</param>
    /// <param name="requestId">Of the handoff.</param>
    public void UnknownBackend(string backend, string used, string requestId)
    {
        if (samples.Admits("the handoff asks for a backend that is not configured"))
            LogUnknownBackend(_logger, AccessLog.Printable(backend), used, requestId);
    }

    /// <summary>Somebody holds what was handed over.</summary>
    public void ThreadReplaced(HungWork work)
    {
        if (!samples.Admits($"another thread took over: {work}"))
            return;
        switch (work)
        {
            case HungWork.Release:
                LogHungRelease(_logger);
                break;
            case HungWork.Check:
                LogHungCheck(_logger);
                break;
            case HungWork.Loop:
                LogHungLoop(_logger);
                break;
        }
    }

    public void Fault(Exception exception)
    {
        if (samples.Admits($"a stream failed in the daemon itself: {exception.GetType().Name}"))
            LogFault(_logger, exception);
    }

    public void BackendFault(Exception exception, string backend, string requestId)
    {
        if (samples.Admits($"backend {backend} failed: {exception.GetType().Name}"))
            LogBackendFault(_logger, exception, backend, requestId);
    }

    [LoggerMessage(EventId = 10, Level = LogLevel.Warning,
        Message = "handoff dropped: {Reason}, from uid {Uid} gid {Gid} pid {Pid}")]
    private static partial void LogDropped(
        ILogger logger, HandoffRejection reason, int uid, int gid, int pid);

    [LoggerMessage(EventId = 15, Level = LogLevel.Warning, Message =
        "handoff dropped: {Reason}, from uid {Uid} gid {Gid} pid {Pid}. The kernel did not give the client's "
        + "socket to this process: a security module (SELinux, AppArmor) denies it")]
    private static partial void LogCutOff(
        ILogger logger, HandoffRejection reason, int uid, int gid, int pid);

    [LoggerMessage(EventId = 13, Level = LogLevel.Debug, Message = "the client left before its handoff")]
    private static partial void LogClientGone(ILogger logger);

    [LoggerMessage(EventId = 16, Level = LogLevel.Warning, Message =
        "of the handoff cannot be used, or not all of it: {Fields}; the rest is served, request {RequestId}")]
    private static partial void LogUnusable(ILogger logger, string fields, string requestId);

    [LoggerMessage(EventId = 14, Level = LogLevel.Warning, Message =
        "the handoff asks for backend {Backend}, which is not configured: {Default} answers, "
        + "request {RequestId}")]
    private static partial void LogUnknownBackend(ILogger logger, string backend, string @default,
        string requestId);

    [LoggerMessage(EventId = 18, Level = LogLevel.Warning, Message =
        "closing a descriptor that was handed over takes long. Other streams go on")]
    private static partial void LogHungRelease(ILogger logger);

    [LoggerMessage(EventId = 19, Level = LogLevel.Warning, Message =
        "a new client's socket does not answer: the process that handed it over still uses it. Other streams "
        + "go on")]
    private static partial void LogHungCheck(ILogger logger);

    [LoggerMessage(EventId = 9, Level = LogLevel.Warning, Message =
        "a client's socket does not answer: another process still uses it. Another thread runs the loop now, "
        + "and the kernel's workers send for it until no socket hangs")]
    private static partial void LogHungLoop(ILogger logger);

    [LoggerMessage(EventId = 11, Level = LogLevel.Error, Message = "a stream failed in the daemon itself")]
    private static partial void LogFault(ILogger logger, Exception exception);

    [LoggerMessage(EventId = 12, Level = LogLevel.Error,
        Message = "backend {Backend} failed, request {RequestId}")]
    private static partial void LogBackendFault(ILogger logger, Exception exception, string backend,
        string requestId);
}
