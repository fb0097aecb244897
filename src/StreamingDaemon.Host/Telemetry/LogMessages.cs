using System.Runtime.InteropServices;
using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>Every message of the log. Ids and names stay as they are: people alert on them. They are listed
/// in docs/log-messages.md.</summary>
/// <remarks>One declaration: the order in which the generator writes several differs from build to build.
/// </remarks>
internal static partial class LogMessages
{
    // 1 to 19: streams and handoffs.

    /// <summary>The access log writes it without Serilog, if it does not go to a terminal.</summary>
    public const string StreamEndedTemplate =
        "stream {Outcome} request_id={RequestId} user_id={UserId} backend={Backend} model={Model} "
        + "bytes={Bytes} events={Events} ttft_ms={TtftMs} duration_ms={DurationMs} status={Status} "
        + "tls={Tls} code={Code} finish_reason={FinishReason} answer={Answer} reason={Reason} "
        + "traceparent={Traceparent}";

    [LoggerMessage(EventId = 1, EventName = "StreamEnded", Message = StreamEndedTemplate)]
    public static partial void StreamEnded(this ILogger logger, LogLevel level, StreamOutcome outcome,
        string requestId, object? userId, string backend, string model, long bytes, int events,
        double? ttftMs, double? durationMs, int status, bool tls, string? code, string? finishReason,
        string? answer, string? reason, string? traceparent);

    [LoggerMessage(EventId = 2, EventName = "LinesLost", Level = LogLevel.Warning,
        Message = "{Count} lines of this log were lost: they were written faster than they were read")]
    public static partial void LinesLost(this ILogger logger, long count);

    [LoggerMessage(EventId = 8, EventName = "UnknownFields", Level = LogLevel.Warning, Message =
        "ignored unknown handoff fields: {Fields}, request {RequestId}. With openai.pass_unknown they would "
        + "be sent to the API")]
    public static partial void UnknownFields(this ILogger logger, string fields, string requestId);

    [LoggerMessage(EventId = 9, EventName = "LoopThreadReplaced", Level = LogLevel.Warning, Message =
        "sending to a client hangs: another process holds its socket. A new thread runs the loop; "
        + "other streams go on")]
    public static partial void LoopThreadReplaced(this ILogger logger);

    [LoggerMessage(EventId = 10, EventName = "HandoffDropped", Level = LogLevel.Warning,
        Message = "handoff dropped: {Reason}, from uid {Uid} gid {Gid} pid {Pid}")]
    public static partial void HandoffDropped(
        this ILogger logger, HandoffRejection reason, int uid, int gid, int pid);

    [LoggerMessage(EventId = 11, EventName = "DaemonFault", Level = LogLevel.Error,
        Message = "a stream failed because of a fault in the daemon")]
    public static partial void DaemonFault(this ILogger logger, Exception exception);

    [LoggerMessage(EventId = 12, EventName = "BackendFault", Level = LogLevel.Error,
        Message = "backend {Backend} failed, request {RequestId}")]
    public static partial void BackendFault(
        this ILogger logger, Exception exception, string backend, string requestId);

    [LoggerMessage(EventId = 13, EventName = "ClientGoneBeforeHandoff", Level = LogLevel.Debug,
        Message = "the client left before its handoff")]
    public static partial void ClientGoneBeforeHandoff(this ILogger logger);

    [LoggerMessage(EventId = 14, EventName = "UnknownBackend", Level = LogLevel.Warning,
        Message = "backend {Backend} is not configured; {Default} answers, request {RequestId}")]
    public static partial void UnknownBackend(
        this ILogger logger, string backend, string @default, string requestId);

    [LoggerMessage(EventId = 15, EventName = "DescriptorDenied", Level = LogLevel.Warning, Message =
        "handoff dropped: {Reason}, from uid {Uid} gid {Gid} pid {Pid}. A security module (SELinux, "
        + "AppArmor) does not let this process receive the client's socket")]
    public static partial void DescriptorDenied(
        this ILogger logger, HandoffRejection reason, int uid, int gid, int pid);

    [LoggerMessage(EventId = 16, EventName = "UnusableFields", Level = LogLevel.Warning,
        Message = "ignored unusable handoff fields: {Fields}, request {RequestId}")]
    public static partial void UnusableFields(this ILogger logger, string fields, string requestId);

    [LoggerMessage(EventId = 17, EventName = "Suppressed", Level = LogLevel.Warning,
        Message = "{Kind}: {Count} more in {Seconds} s")]
    public static partial void Suppressed(this ILogger logger, string kind, long count, double seconds);

    [LoggerMessage(EventId = 18, EventName = "CloseHangs", Level = LogLevel.Warning,
        Message = "closing a descriptor hangs: another process holds it. Other streams go on")]
    public static partial void CloseHangs(this ILogger logger);

    [LoggerMessage(EventId = 19, EventName = "SocketCheckHangs", Level = LogLevel.Warning,
        Message = "checking a new client's socket hangs: another process holds it. Other streams go on")]
    public static partial void SocketCheckHangs(this ILogger logger);

    // 20 to 29: the handoff loop's life.

    [LoggerMessage(EventId = 20, EventName = "Listening", Level = LogLevel.Information,
        Message = "listening on {Socket} ({Kind}), backend {Backend}, at most {MaxConnections} connections")]
    public static partial void Listening(
        this ILogger logger, string socket, string kind, string backend, int maxConnections);

    [LoggerMessage(EventId = 21, EventName = "Draining", Level = LogLevel.Information,
        Message = "no new handoffs; {Active} connections have {Seconds} s to end")]
    public static partial void Draining(this ILogger logger, int active, int seconds);

    [LoggerMessage(EventId = 22, EventName = "Drained", Level = LogLevel.Information,
        Message = "all streams have ended")]
    public static partial void Drained(this ILogger logger);

    [LoggerMessage(EventId = 23, EventName = "DrainTimedOut", Level = LogLevel.Warning,
        Message = "shutdown_timeout_s is over: ending {Active} connections with an error event")]
    public static partial void DrainTimedOut(this ILogger logger, int active);

    [LoggerMessage(EventId = 24, EventName = "LoopFailed", Level = LogLevel.Critical,
        Message = "the handoff loop failed")]
    public static partial void LoopFailed(this ILogger logger, Exception exception);

    [LoggerMessage(EventId = 25, EventName = "DescriptorLimit", Level = LogLevel.Warning,
        Message = "nofile: {Detail}")]
    public static partial void DescriptorLimit(this ILogger logger, string detail);

    [LoggerMessage(EventId = 26, EventName = "MemoryLimit", Level = LogLevel.Information, Message =
        "streams may hold {MiB} MiB of memory: {KiB} KiB each, and five bytes for each byte of a "
        + "handoff")]
    public static partial void MemoryLimit(this ILogger logger, long miB, int kiB);

    [LoggerMessage(EventId = 27, EventName = "SocketPathLeft", Level = LogLevel.Warning,
        Message = "{Socket} was not removed: {Reason}")]
    public static partial void SocketPathLeft(this ILogger logger, string socket, string reason);

    [LoggerMessage(EventId = 28, EventName = "BackendChosen", Level = LogLevel.Information, Message =
        "backend {Backend}: chosen because {Option} is set and backend.name is not")]
    public static partial void BackendChosen(this ILogger logger, string backend, string option);

    // 30 to 39: signals.

    [LoggerMessage(EventId = 29, EventName = "ListenerShutDown", Level = LogLevel.Error, Message =
        "another process has shut down the passed socket {Socket}: nothing can be handed over any more. "
        + "Running streams end, then the daemon")]
    public static partial void ListenerShutDown(this ILogger logger, string socket);

    [LoggerMessage(EventId = 30, EventName = "SignalDrains", Level = LogLevel.Information,
        Message = "{Signal}: draining")]
    public static partial void SignalDrains(this ILogger logger, PosixSignal signal);

    [LoggerMessage(EventId = 31, EventName = "SignalEnds", Level = LogLevel.Warning,
        Message = "{Signal} again: ending at once")]
    public static partial void SignalEnds(this ILogger logger, PosixSignal signal);

    // 40 to 49: reloads of the configuration.

    [LoggerMessage(EventId = 40, EventName = "Reloaded", Level = LogLevel.Information,
        Message = "reloaded: {Changed} changed")]
    public static partial void Reloaded(this ILogger logger, string changed);

    [LoggerMessage(EventId = 41, EventName = "NeedsRestart", Level = LogLevel.Warning,
        Message = "changed, but in force only after a restart: {Options}")]
    public static partial void NeedsRestart(this ILogger logger, string options);

    [LoggerMessage(EventId = 42, EventName = "NotReloaded", Level = LogLevel.Error,
        Message = "not reloaded, settings unchanged: {Problem}")]
    public static partial void NotReloaded(this ILogger logger, string problem);

    [LoggerMessage(EventId = 43, EventName = "LateReloadIgnored", Level = LogLevel.Information,
        Message = "a reload that had timed out came back: ignored")]
    public static partial void LateReloadIgnored(this ILogger logger);

    // 60 to 69: the metrics port.

    [LoggerMessage(EventId = 60, EventName = "MetricsPortFault", Level = LogLevel.Error,
        Message = "a fault at the metrics port")]
    public static partial void MetricsPortFault(this ILogger logger, Exception exception);

    [LoggerMessage(EventId = 61, EventName = "MetricsConnectionLost", Level = LogLevel.Error,
        Message = "a connection to the metrics port failed")]
    public static partial void MetricsConnectionLost(this ILogger logger, Exception exception);

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

    [LoggerMessage(EventId = 88, EventName = "DeliveryNotRemoved", Level = LogLevel.Warning, Message =
        "delivery {Id} has arrived, but its file in {Directory} cannot be removed: the next start sends it "
        + "again")]
    public static partial void DeliveryNotRemoved(this ILogger logger, string id, string directory);

    // 90 to 99: kept answers.

    [LoggerMessage(EventId = 90, EventName = "AnswerEnded", Level = LogLevel.Information, Message =
        "answer {Outcome} request_id={RequestId} backend={Backend} events={Events} duration_ms={DurationMs} "
        + "finish_reason={FinishReason} reason={Reason}")]
    public static partial void AnswerEnded(this ILogger logger, StreamOutcome outcome, string requestId,
        string backend, int events, double durationMs, string? finishReason, string? reason);

    [LoggerMessage(EventId = 91, EventName = "AnswerNotKept", Level = LogLevel.Warning, Message =
        "answer {RequestId} is streamed, but not kept: answers.max_bytes is reached, or memory is short")]
    public static partial void AnswerNotKept(this ILogger logger, string requestId);

    [LoggerMessage(EventId = 92, EventName = "AnswerNoLongerKept", Level = LogLevel.Warning, Message =
        "answer {RequestId} streams on, but can no longer be resumed: it passed answers.{Limit}")]
    public static partial void AnswerNoLongerKept(this ILogger logger, string requestId, string limit);

    [LoggerMessage(EventId = 93, EventName = "RedisUnavailable", Level = LogLevel.Warning, Message =
        "Redis is unavailable ({Reason}): new answers are streamed, but not kept")]
    public static partial void RedisUnavailable(this ILogger logger, string reason);

    [LoggerMessage(EventId = 94, EventName = "RedisAvailable", Level = LogLevel.Information,
        Message = "Redis is available: answers are kept again")]
    public static partial void RedisAvailable(this ILogger logger);

    [LoggerMessage(EventId = 95, EventName = "AnswerUnshared", Level = LogLevel.Warning,
        Message = "answer {RequestId} is streamed, but other daemons cannot read it: Redis is unavailable")]
    public static partial void AnswerUnshared(this ILogger logger, string requestId);

    [LoggerMessage(EventId = 96, EventName = "RedisRefuses", Level = LogLevel.Warning,
        Message = "Redis refuses a command: {Code}. Answers are streamed, but not shared")]
    public static partial void RedisRefuses(this ILogger logger, string code);

    [LoggerMessage(EventId = 97, EventName = "BackendWarning", Level = LogLevel.Warning,
        Message = "backend {Backend}: {Problem}")]
    public static partial void BackendWarning(this ILogger logger, string backend, string problem);

    [LoggerMessage(EventId = 98, EventName = "CertificatesRenewed", Level = LogLevel.Information,
        Message = "{Options} changed on disk: new connections use the new content")]
    public static partial void CertificatesRenewed(this ILogger logger, string options);

    [LoggerMessage(EventId = 99, EventName = "CertificatesKept", Level = LogLevel.Warning,
        Message = "certificates not reloaded, new connections use the old ones: {Problem}")]
    public static partial void CertificatesKept(this ILogger logger, string problem);
}
