using StreamingDaemon.Backends;
using StreamingDaemon.Host.Delivery;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// One call of a backend, and where its answer goes: its phase, its deadlines, and why it was cancelled.
/// <see cref="CallRunner"/> runs it; the watchdog enforces its deadlines from another thread.
/// </summary>
internal abstract class UpstreamCall : IDeltaSink
{
    /// <summary>Unix time of <see cref="Environment.TickCount64"/> 0, in milliseconds.</summary>
    private static readonly long s_bootedMs =
        DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - Environment.TickCount64;

    private int _cancelOutcome = -1;
    private bool _concluded;
    private bool _isWhole;
    private bool _isWaiting;
    private long _lastActivityMs;

    // Milliseconds after StartedMs; -1 if it has not happened. An int is enough, and keeps a stream small.
    private int _pendingAfterMs = -1;
    private int _cancelSeenAfterMs = -1;

    protected UpstreamCall(HandoffRequest request, IStreamingBackend backend, StreamFormat format)
    {
        Request = request;
        Backend = backend;
        Format = format;
        StartedMs = _lastActivityMs = Environment.TickCount64;
    }

    public HandoffRequest Request { get; }

    public IStreamingBackend Backend { get; }

    public StreamFormat Format { get; }

    /// <summary>The call's share of its user's limits, released when the call ends; null if nothing is
    /// counted.</summary>
    public IDisposable? Permit { get; set; }

    /// <summary>The worker slot of the backend's call, released when the call ends; null without a limit.
    /// </summary>
    public IDisposable? Worker { get; set; }

    /// <summary>Collects the answer; null if it is not delivered.</summary>
    public AnswerContent? Content { get; set; }

    /// <summary>When the call began, as <see cref="Environment.TickCount64"/> (ms).</summary>
    public long StartedMs { get; }

    /// <summary>When the backend was called (ms), or 0 if it was not yet: the upstream's timeouts start
    /// here.</summary>
    public long PendingSinceMs => TimeAfterStart(Volatile.Read(ref _pendingAfterMs));

    /// <summary>When the upstream last sent something (ms).</summary>
    public long LastActivityMs => Volatile.Read(ref _lastActivityMs);

    /// <summary>True while the backend waits for a slow client: the idle timeout does not run then.</summary>
    public bool IsWaitingForClient
    {
        get => Volatile.Read(ref _isWaiting);
        protected set => Volatile.Write(ref _isWaiting, value);
    }

    /// <summary>True once the answer is whole, and the backend waits for the end of its body: the idle
    /// timeout does not run then.</summary>
    public bool IsWhole
    {
        get => Volatile.Read(ref _isWhole);
        protected set => Volatile.Write(ref _isWhole, value);
    }

    public StreamState State { get; protected set; } = StreamState.Queued;

    /// <summary>Events of the answer that were written.</summary>
    public int Events { get; protected set; }

    /// <summary>Fires when the call is cancelled; <see cref="CancelOutcome"/> has the reason.</summary>
    public abstract CancellationToken Cancelled { get; }

    /// <summary>Why the call was cancelled, or null if it was not.</summary>
    public StreamOutcome? CancelOutcome
    {
        get
        {
            var outcome = Volatile.Read(ref _cancelOutcome);
            return outcome >= 0 ? (StreamOutcome)outcome : IsGone ? StreamOutcome.ClientGone : null;
        }
    }

    /// <summary>True once it is settled how the call ended; its end may still be written.</summary>
    public bool IsConcluded => Volatile.Read(ref _concluded);

    /// <summary>True if a failure can no longer be a status.</summary>
    public abstract bool HeadSent { get; }

    /// <summary>Completes when nothing more can change how the call ended. Await it once.</summary>
    public abstract ValueTask<ClientEnd> Ended { get; }

    /// <summary>Index in the watchdog's list, or -1. Only the watchdog writes it.</summary>
    internal int WatchIndex { get; set; } = -1;

    /// <summary>When the watchdog first saw the call cancelled (ms), or 0. Only the watchdog writes it.
    /// </summary>
    internal long CancelSeenMs
    {
        get => TimeAfterStart(_cancelSeenAfterMs);
        set => _cancelSeenAfterMs = (int)(value - StartedMs);
    }

    /// <summary>The one client left.</summary>
    protected abstract bool IsGone { get; }

    public void MarkPending()
    {
        State = StreamState.Pending;
        var now = Environment.TickCount64;
        Volatile.Write(ref _lastActivityMs, now);
        Volatile.Write(ref _pendingAfterMs, (int)(now - StartedMs));
    }

    /// <summary>Cancels the backend's call. Only the first reason counts; a client that left is a reason
    /// too. Thread-safe.</summary>
    public void Cancel(StreamOutcome outcome)
    {
        if (!IsGone && Interlocked.CompareExchange(ref _cancelOutcome, (int)outcome, -1) == -1)
            FireCancelled();
    }

    /// <summary>True for the first caller only: the call's backend, or the watchdog if the backend does
    /// not return.</summary>
    public bool TryConclude()
    {
        if (!Interlocked.Exchange(ref _concluded, true))
            return true;
        // The call may have got its worker slot after the first caller looked for one to release.
        Worker?.Dispose();
        return false;
    }

    /// <summary>Sends the head, unless it was sent already or the call is over. Thread-safe.</summary>
    public abstract void EnsureHead();

    /// <summary>Writes the end of the answer, once.</summary>
    /// <param name="result">How the call ended.</param>
    /// <param name="error">What the client is told; null if it is told nothing.</param>
    public abstract void Finish(BackendResult result, ErrorResponse? error);

    /// <summary>Writes the log line and the metrics.</summary>
    public abstract void Report(BackendResult result, ClientEnd end);

    /// <remarks>Does not send the client's head: until there is something to show, a failure can be a
    /// status.</remarks>
    public void OnResponseStarted() => OnUpstreamActivity();

    public void OnAnswerWhole() => IsWhole = true;

    public abstract void OnRetry(UpstreamFault fault);

    public void OnUpstreamActivity() => Volatile.Write(ref _lastActivityMs, Environment.TickCount64);

    public abstract ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken);

    /// <summary>What was collected; nothing is added to it any more.</summary>
    public AnswerContent? TakeContent()
    {
        lock (this)
        {
            var content = Content;
            Content = null;
            return content;
        }
    }

    protected abstract void FireCancelled();

    /// <summary>Collects the delta, if the answer still is.</summary>
    /// <returns>True if the client is not shown it.</returns>
    protected bool IsOnlyCollected(StreamDelta delta)
    {
        var isShown = Request.Shows(delta.Kind);
        lock (this)
            Content?.Add(delta, isShown);
        return !isShown;
    }

    private long TimeAfterStart(int afterMs) => afterMs < 0 ? 0 : StartedMs + afterMs;

    protected AnswerFacts Facts()
    {
        var model = Request.Model ?? Backend.DefaultModel;
        return new AnswerFacts(Request.RequestId, model.Length > 0 ? model : Backend.Name,
            (s_bootedMs + StartedMs) / 1000, IsFirst: Events == 0);
    }
}
