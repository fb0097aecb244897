using System.Buffers;
using System.Diagnostics;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>
/// One stream between its backend and its client: writes the head, the events and the end, and counts them.
/// A lock keeps each write whole, because the watchdog may send the head or end the stream while the backend
/// writes. It locks the session itself, which no other class locks: a Lock would be one more object for each
/// stream.
/// </summary>
internal sealed class StreamSession : IDeltaSink
{
    private static readonly ReadOnlyMemory<byte> s_stop = "stop"u8.ToArray();

    /// <summary>Unix time of <see cref="Environment.TickCount64"/> 0, in milliseconds.</summary>
    private static readonly long s_bootedMs =
        DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() - Environment.TickCount64;

    private readonly ClientStream _client;
    private readonly StreamMetrics _metrics;
    private int _cancelOutcome = -1;
    private bool _concluded;
    private long _lastActivityMs;
    private long _pendingSinceMs;
    private TimeSpan _timeToFirstToken;
    private ushort _errorStatus;
    private bool _waitingForClient;
    private bool _headSent;
    private bool _isWhole;
    private bool _finished;
    private bool _lacksFinishReason;

    public StreamSession(ClientStream client, HandoffRequest request, IStreamingBackend backend,
        StreamFormat format, StreamMetrics metrics)
    {
        _client = client;
        _metrics = metrics;
        Format = format;
        Request = request;
        Backend = backend;
        StartedMs = _lastActivityMs = Environment.TickCount64;
    }

    public ClientStream Client => _client;

    public HandoffRequest Request { get; }

    public IStreamingBackend Backend { get; }

    public StreamFormat Format { get; }

    /// <summary>The stream's share of its user's limits, released when the stream ends.</summary>
    public UserPermit Permit { get; set; }

    /// <summary>The worker slot of the backend's call, released when the stream ends; null without a limit.
    /// </summary>
    public IDisposable? Worker { get; set; }

    /// <summary>When the session began, as <see cref="Environment.TickCount64"/> (ms).</summary>
    public long StartedMs { get; }

    /// <summary>When the backend was called (ms), or 0 if it was not yet: the upstream's timeouts start
    /// here.</summary>
    public long PendingSinceMs => Volatile.Read(ref _pendingSinceMs);

    /// <summary>When the upstream last sent something (ms).</summary>
    public long LastActivityMs => Volatile.Read(ref _lastActivityMs);

    /// <summary>True while the backend waits for a slow client: the idle timeout does not run then.</summary>
    public bool IsWaitingForClient => Volatile.Read(ref _waitingForClient);

    /// <summary>True once the answer is whole, and the backend waits for the end of its body: the idle
    /// timeout does not run then.</summary>
    public bool IsWhole => Volatile.Read(ref _isWhole);

    public StreamState State { get; private set; } = StreamState.Queued;

    /// <summary>Fires when the stream is cancelled; <see cref="CancelOutcome"/> has the reason.</summary>
    public CancellationToken Cancelled => _client.Cancelled;

    /// <summary>Why the stream was cancelled, or null if it was not.</summary>
    public StreamOutcome? CancelOutcome
    {
        get
        {
            var outcome = Volatile.Read(ref _cancelOutcome);
            return outcome >= 0 ? (StreamOutcome)outcome : _client.IsGone ? StreamOutcome.ClientGone : null;
        }
    }

    public bool HeadSent => Volatile.Read(ref _headSent);

    public int Events { get; private set; }

    /// <summary>Time from the accept of the handoff to the first delta; null if there was none.</summary>
    public TimeSpan? TimeToFirstToken => Events == 0 ? null : _timeToFirstToken;

    /// <summary>Index in the watchdog's list, or -1. Only the watchdog writes it.</summary>
    internal int WatchIndex { get; set; } = -1;

    /// <summary>When the watchdog first saw the stream cancelled (ms), or 0. Only the watchdog writes it.
    /// </summary>
    internal long CancelSeenMs { get; set; }

    public void MarkPending()
    {
        State = StreamState.Pending;
        var now = Environment.TickCount64;
        Volatile.Write(ref _lastActivityMs, now);
        Volatile.Write(ref _pendingSinceMs, now);
    }

    /// <summary>Cancels the backend's call. Only the first reason counts; a client that left is a reason
    /// too. Thread-safe.</summary>
    public void Cancel(StreamOutcome outcome)
    {
        if (!_client.IsGone && Interlocked.CompareExchange(ref _cancelOutcome, (int)outcome, -1) == -1)
            _client.Cancel();
    }

    /// <summary>True for the first caller only: the stream's backend, or the watchdog if the backend does
    /// not return.</summary>
    public bool TryConclude() => !Interlocked.Exchange(ref _concluded, true);

    /// <summary>Sends the head, unless it was sent already or the stream is over.</summary>
    public void EnsureHead()
    {
        lock (this)
        {
            if (!_finished)
                EnsureHeadLocked();
        }
    }

    /// <remarks>Does not send the client's head: until there is something to show, a failure can be a
    /// status.</remarks>
    void IDeltaSink.OnResponseStarted() => OnUpstreamActivity();

    void IDeltaSink.OnAnswerWhole() => Volatile.Write(ref _isWhole, true);

    void IDeltaSink.OnRetry(UpstreamFault fault) => _metrics.OnUpstreamRetry(fault);

    public void OnUpstreamActivity() => Volatile.Write(ref _lastActivityMs, Environment.TickCount64);

    async ValueTask IDeltaSink.WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
    {
        OnUpstreamActivity();
        _isWhole = false;
        ValueTask<bool> flush;
        lock (this)
        {
            // A backend that outlives its stream must not write: its buffer may be another stream's by now.
            if (_finished)
                throw new OperationCanceledException("the stream is over", Cancelled);
            EnsureHeadLocked();
            // A plain token takes no virtual call.
            if (delta.Kind == DeltaKinds.Text && Format is TextFormat)
                ServerSentEvents.WriteContent(_client, delta.Text.Span);
            else
                WriteLocked(delta);
            flush = _client.FlushAsync(Cancelled);
        }

        if (Events == 0)
        {
            State = StreamState.Streaming;
            _timeToFirstToken = Stopwatch.GetElapsedTime(_client.AcceptedTimestamp);
        }

        Events++;
        _metrics.OnEvent();
        if (!flush.IsCompleted)
            Volatile.Write(ref _waitingForClient, true);
        var taken = await flush.ConfigureAwait(false);
        OnUpstreamActivity();
        Volatile.Write(ref _waitingForClient, false);
        if (!taken)
            throw new OperationCanceledException("the client is gone", Cancelled);
    }

    /// <summary>Ends a complete answer: [DONE], then the end of the stream.</summary>
    public void FinishWhole() => Finish(static (session, _) =>
    {
        session.EnsureHeadLocked();
        if (session._lacksFinishReason)
            session.WriteLocked(new StreamDelta(s_stop, DeltaKinds.FinishReason));
        session.Format.WriteDone(session._client);
    }, null);

    /// <summary>Ends an answer that the upstream ended early without an error: without [DONE].</summary>
    public void FinishTruncated()
    {
        if (Format.TruncationError is { } error)
        {
            FinishWithError(error);
            return;
        }

        Finish(static (session, _) =>
        {
            session.EnsureHeadLocked();
            session._client.Write(ServerSentEvents.Truncated);
        }, null);
    }

    /// <summary>Ends the stream with an error: an HTTP status if no head was sent, else an error event.
    /// </summary>
    public void FinishWithError(ErrorResponse end) => Finish(static (session, end) =>
    {
        var error = end!;
        session.Error = error.Code;
        if (session._headSent)
        {
            session.Format.WriteError(session._client, error, session.Facts());
            return;
        }

        var body = session.Format.ErrorBody(error, session.Facts());
        ResponseHead.WriteError(session._client, error, body, session.Request.ResponseHeaders.Span);
        session._errorStatus = (ushort)error.Status;
    }, end);

    /// <summary>Ends the stream and sends the client nothing more.</summary>
    public void Abandon()
    {
        lock (this)
        {
            _finished = true;
            _client.Abort();
        }
    }

    /// <summary>The HTTP status sent, or 0 if no head was sent yet.</summary>
    public int Status => _errorStatus != 0 ? _errorStatus : HeadSent ? 200 : 0;

    /// <summary>The error that the client was sent, or null.</summary>
    public ErrorCode? Error { get; private set; }

    private void Finish(Action<StreamSession, ErrorResponse?> write, ErrorResponse? end)
    {
        lock (this)
        {
            if (_finished)
                return;
            _finished = true;
            if (_client.IsCut)
            {
                // Half of a large event was sent: the client would read anything more as the rest of it.
                _client.Abort();
                return;
            }

            write(this, end);
            _client.Complete();
        }
    }

    private void EnsureHeadLocked()
    {
        if (_headSent)
            return;
        _headSent = true;
        // After the head, every flush holds whole events, so a keep-alive may go between two of them.
        _client.BeginKeepAlive();
        ResponseHead.WriteStream(_client, Request.ResponseHeaders.Span);
        _client.FlushWithoutWaiting();
    }

    private void WriteLocked(StreamDelta delta)
    {
        Format.Write(_client, delta, Facts());
        _lacksFinishReason = Format.NeedsFinishReason
            && (delta.Kind is DeltaKinds.Text or DeltaKinds.Reasoning
                || (_lacksFinishReason && delta.Kind != DeltaKinds.FinishReason));
    }

    private AnswerFacts Facts()
    {
        var model = Request.Model ?? Backend.DefaultModel;
        return new AnswerFacts(Request.RequestId, model.Length > 0 ? model : Backend.Name,
            (s_bootedMs + StartedMs) / 1000, IsFirst: Events == 0);
    }
}
