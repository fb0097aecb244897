using System.Diagnostics;
using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>How far a stream has come.</summary>
internal enum StreamState : byte
{
    /// <summary>LLM_QUEUED: waits for a worker slot.</summary>
    Queued,

    /// <summary>LLM_PENDING: the backend was called and no token has come.</summary>
    Pending,

    /// <summary>Tokens are on their way.</summary>
    Streaming,
}

/// <summary>
/// One stream between its backend and its client: the head, the events, the end, and what is told of it. A
/// lock makes each of them whole: the watchdog may send the head or end the stream while the backend writes.
/// It is on the object itself, which nobody else locks: a Lock would be an object more for each stream.
/// </summary>
internal sealed class StreamSession : IDeltaSink
{
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
    private bool _responseStarted;
    private bool _finished;

    public StreamSession(ClientStream client, HandoffRequest request, IStreamingBackend backend,
        StreamMetrics metrics)
    {
        _client = client;
        _metrics = metrics;
        Request = request;
        Backend = backend;
        StartedMs = _lastActivityMs = Environment.TickCount64;
    }

    public ClientStream Client => _client;

    public HandoffRequest Request { get; }

    public IStreamingBackend Backend { get; }

    /// <summary>What the stream holds of its user's limits, to be given back at its end.</summary>
    public UserPermit Permit { get; set; }

    /// <summary>The worker that its backend's call holds, to be given back at its end.</summary>
    public IDisposable? Worker { get; set; }

    /// <summary>When the session began, in milliseconds of the system's monotonic clock.</summary>
    public long StartedMs { get; }

    /// <summary>When the backend was called, or 0: before that no upstream can be blamed for its
    /// silence.</summary>
    public long PendingSinceMs => Volatile.Read(ref _pendingSinceMs);

    /// <summary>When the upstream was last heard of.</summary>
    public long LastActivityMs => Volatile.Read(ref _lastActivityMs);

    /// <summary>The client is behind and its producer waits: that is not the upstream's silence.</summary>
    public bool IsWaitingForClient => Volatile.Read(ref _waitingForClient);

    public StreamState State { get; private set; } = StreamState.Queued;

    /// <summary>Fires with the reason in <see cref="CancelOutcome"/>.</summary>
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

    public bool ResponseStarted => Volatile.Read(ref _responseStarted);

    public bool HeadSent => Volatile.Read(ref _headSent);

    public int Events { get; private set; }

    /// <summary>From the acceptance of the handoff to the first delta; null if none came.</summary>
    public TimeSpan? TimeToFirstToken => Events == 0 ? null : _timeToFirstToken;

    /// <summary>Index in the watchdog's list, or -1; the watchdog's own.</summary>
    internal int WatchIndex { get; set; } = -1;

    /// <summary>When the watchdog first saw it cancelled, or 0; the watchdog's own.</summary>
    internal long CancelSeenMs { get; set; }

    public void MarkPending()
    {
        State = StreamState.Pending;
        var now = Environment.TickCount64;
        Volatile.Write(ref _lastActivityMs, now);
        Volatile.Write(ref _pendingSinceMs, now);
    }

    /// <summary>Cancels the backend. The first reason stays, and a client that left is one; from any
    /// thread.</summary>
    public void Cancel(StreamOutcome outcome)
    {
        if (!_client.IsGone && Interlocked.CompareExchange(ref _cancelOutcome, (int)outcome, -1) == -1)
            _client.Cancel();
    }

    /// <summary>True for the first who comes to end the stream: its backend, or the watchdog over a backend
    /// that does not come back.</summary>
    public bool TryConclude() => !Interlocked.Exchange(ref _concluded, true);

    /// <summary>Sends the head now, unless it was or the stream is over.</summary>
    public void EnsureHead()
    {
        lock (this)
        {
            if (!_finished)
                EnsureHeadLocked();
        }
    }

    void IDeltaSink.OnResponseStarted()
    {
        Volatile.Write(ref _responseStarted, true);
        OnUpstreamActivity();
        EnsureHead();
    }

    void IDeltaSink.OnRetry(UpstreamFault fault) => _metrics.OnUpstreamRetry(fault);

    public void OnUpstreamActivity() => Volatile.Write(ref _lastActivityMs, Environment.TickCount64);

    async ValueTask IDeltaSink.WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
    {
        OnUpstreamActivity();
        ValueTask<bool> flush;
        lock (this)
        {
            // A backend that outlived its stream must not write into what may be somebody else's.
            if (_finished)
                throw new OperationCanceledException("the stream is over", Cancelled);
            EnsureHeadLocked();
            ServerSentEvents.WriteContent(_client, delta.Text.Span);
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

    /// <summary>A whole answer: [DONE] and the end of the stream.</summary>
    public void FinishWhole() => Finish(static (session, _) =>
    {
        session.EnsureHeadLocked();
        session.Write(ServerSentEvents.Done);
    }, null);

    /// <summary>A clean end of the upstream that was none of the answer: a comment instead of
    /// [DONE].</summary>
    public void FinishTruncated() => Finish(static (session, _) =>
    {
        session.EnsureHeadLocked();
        session.Write(ServerSentEvents.Truncated);
    }, null);

    /// <summary>An error: a status if there is no head yet, else an error event.</summary>
    public void FinishWithError(ErrorResponse end) => Finish(static (session, end) =>
    {
        if (session._headSent)
        {
            var message = $"{end!.Message} (request {session.Request.RequestId})";
            ServerSentEvents.WriteError(session._client, Encoding.UTF8.GetBytes(message));
        }
        else
        {
            ResponseHead.WriteError(session._client, end!.Status, end.Message, session.Request.RequestId,
                end.RetryAfterSeconds, session.Request.ResponseHeaders.Span);
            session._errorStatus = (ushort)end.Status;
        }
    }, end);

    /// <summary>Nothing more for this client.</summary>
    public void Abandon()
    {
        lock (this)
        {
            _finished = true;
            _client.Abort();
        }
    }

    /// <summary>The HTTP status that was sent, or 0 before the head is.</summary>
    public int Status => _errorStatus != 0 ? _errorStatus : HeadSent ? 200 : 0;

    private void Finish(Action<StreamSession, ErrorResponse?> write, ErrorResponse? end)
    {
        lock (this)
        {
            if (_finished)
                return;
            _finished = true;
            if (_client.IsCut)
            {
                // Half of a large event is out: whatever followed would be read as the rest of it.
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
        // Behind the head every flush is one event or more.
        _client.BeginKeepAlive();
        ResponseHead.WriteStream(_client, Request.ResponseHeaders.Span);
        _client.FlushWithoutWaiting();
    }

    private void Write(ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(_client.GetSpan(bytes.Length));
        _client.Advance(bytes.Length);
    }
}
