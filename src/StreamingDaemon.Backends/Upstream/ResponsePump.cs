using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The target that a response's body is copied to. It reports that bytes came, hands them to an <see
/// cref="EventRelay{TEvents}"/>, and knows how the body ended. Owns the response.
/// </summary>
/// <remarks>
/// The body writes into it (<see cref="Stream.CopyToAsync(Stream, int, CancellationToken)"/>) instead of
/// being read: each read that waits costs two objects in the HTTP client and two more above it; a copy that
/// waits costs none.
///
/// The answer is over at its end marker, a moment before its body ends. Disposing the response in that
/// moment would reset an HTTP/2 stream, and proxies close a connection after many resets; on HTTP/1.1 it
/// would cost the connection. So the result is there at once, and the copy goes on for a while to the
/// formal end.
///
/// A finish reason makes the answer whole too, but token counts may follow, so the end marker or the body's
/// end is awaited for <see cref="GraceMs"/>. However the body ends then, the answer is whole.
/// </remarks>
/// <typeparam name="TEvents">Reads the upstream's events.</typeparam>
internal sealed class ResponsePump<TEvents>
    : WriteOnlyStream, IValueTaskSource<BackendResult>, IThreadPoolWorkItem
    where TEvents : struct, IEventReader
{
    /// <summary>Size of one copy: more than a token's event. Each stream holds this much.</summary>
    private const int CopyBytes = 512;

    /// <summary>Silence accepted between the finish reason and the end.</summary>
    private const int GraceMs = 1_000;

    /// <summary>The same, if the answer may go on after its finish reason
    /// (<see cref="IEventReader.MayGoOnAfterFinish"/>).</summary>
    private const int LongGraceMs = 10_000;

    /// <summary>Time for the body to end after the answer, and how much more it may send.</summary>
    private const int LimitOfRestMs = 2_000;
    private const int LimitOfRestBytes = 64 * 1024;

    private const int Reading = 0;
    private const int Writing = 1;
    private const int Aborted = 2;

    private const int RestIsTimed = 1;
    private const int RestIsOver = 2;

    private readonly IDisposable _response;
    private readonly CancellationTokenSource _stop = new();
    private readonly EventRelay<TEvents> _relay;
    private CancellationTokenRegistration _registration;
    private ManualResetValueTaskSourceCore<BackendResult> _result;
    private int _state = Reading;
    private bool _isOver;
    private int _rest;
    private int _restBytes;

    /// <summary>When the wait for the end is over (ms), or 0; and how many parts had come when it began.
    /// </summary>
    private long _graceEndsMs;
    private int _partsBeforeGrace;

    /// <param name="response">Disposed when its body has ended or is no longer needed.</param>
    /// <param name="sink">Takes the deltas.</param>
    /// <param name="events">Reads the events; disposed with the response.</param>
    /// <param name="maxEventBytes">Longest line and longest event, bytes.</param>
    /// <param name="status">The response's HTTP status.</param>
    /// <param name="cancellationToken">The client's: it ends the answer and tells the upstream.</param>
    /// <param name="memory">Counts what the answer holds.</param>
    public ResponsePump(IDisposable response, IDeltaSink sink, TEvents events, int maxEventBytes, int status,
        CancellationToken cancellationToken, AnswerMemory memory = default)
    {
        _response = response;
        _relay = new EventRelay<TEvents>(sink, events, maxEventBytes, status, memory, cancellationToken);
    }

    /// <summary>Told which writes belong together.</summary>
    public IWriteBatch? Batch { get; init; }

    /// <summary>Bytes that come and wait in the connection while this is not read.</summary>
    public int WindowBytes { get; init; }

    /// <summary>Brings the whole answer to the sink. Called once.</summary>
    /// <param name="body">The rest of the body; disposed at its end.</param>
    /// <param name="begun">What was read of it before.</param>
    /// <exception cref="OperationCanceledException">The client's token fired.</exception>
    /// <remarks>The sink's exceptions pass through.</remarks>
    public ValueTask<BackendResult> RunAsync(Stream body, ReadOnlyMemory<byte> begun = default)
    {
        var version = _result.Version;
        _registration = _relay.CancellationToken.UnsafeRegister(
            static relay => ((ResponsePump<TEvents>)relay!).Abort(), this);
        _relay.Sink.OnResponseStarted();
        _ = CopyAsync(body, begun);
        return new ValueTask<BackendResult>(this, version);
    }

    /// <summary>Passes on the events of the bytes that came. No state machine, unless the sink makes it wait.
    /// </summary>
    public override ValueTask WriteAsync(
        ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken = default)
    {
        if (_isOver)
        {
            _restBytes += bytes.Length;
            return _restBytes > LimitOfRestBytes ? throw new EndOfCopyException() : default;
        }

        if (Interlocked.CompareExchange(ref _state, Writing, Reading) != Reading)
            throw new OperationCanceledException(_relay.CancellationToken);
        var goesOn = false;
        try
        {
            _relay.Sink.OnUpstreamActivity();
            if (_graceEndsMs != 0)
                _stop.CancelAfter(Timeout.Infinite);
            var relay = RelayInBatch(bytes);
            if (!relay.IsCompletedSuccessfully)
            {
                goesOn = true;
                _relay.Memory.SetBehind(WindowBytes);
                return FinishWriteAsync(relay);
            }

            var end = relay.Result;
            goesOn = end != RelayEnd.None;
            if (goesOn)
                return FinishWriteAsync(new(end));
            if (_relay.IsFinished)
                WaitForEnd();
            return default;
        }
        finally
        {
            if (!goesOn)
                EndWrite();
        }
    }

    /// <summary>The rest of a write that has to wait, or that is the answer's last. Pooled: a slow client
    /// makes each write wait.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask FinishWriteAsync(ValueTask<RelayEnd> relay)
    {
        try
        {
            var end = await relay;
            _relay.Memory.SetBehind(0);
            if (end != RelayEnd.None)
                End(await _relay.EndAsync(end));
            else if (_relay.IsFinished)
                WaitForEnd();
        }
        finally
        {
            EndWrite();
        }
    }

    private void EndWrite() => Interlocked.CompareExchange(ref _state, Reading, Writing);

    BackendResult IValueTaskSource<BackendResult>.GetResult(short token) => _result.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<BackendResult>.GetStatus(short token) => _result.GetStatus(token);

    void IValueTaskSource<BackendResult>.OnCompleted(Action<object?> continuation, object? state, short token,
        ValueTaskSourceOnCompletedFlags flags) => _result.OnCompleted(continuation, state, token, flags);

    /// <summary>Ends the upstream's stream now. While the copy waits for bytes, its token ends it; while it
    /// waits for a slow client, only the response can tell the upstream.</summary>
    private void Abort()
    {
        if (Interlocked.Exchange(ref _state, Aborted) == Writing)
            _response.Dispose();
        _stop.Cancel();
    }

    /// <summary>The connection's other streams got tokens too, and are queued behind it.</summary>
    private ValueTask<RelayEnd> RelayInBatch(ReadOnlyMemory<byte> bytes)
    {
        Batch?.BeginBatch();
        try
        {
            return _relay.RelayAsync(bytes);
        }
        finally
        {
            Batch?.EndBatchLater();
        }
    }

    /// <summary>The answer is over, but the body is not.</summary>
    private void End(BackendResult result)
    {
        _isOver = true;
        // The client may leave: the rest of the body is still read to its end.
        _registration.Unregister();
        // Most bodies have ended by now, and need no timer.
        ThreadPool.UnsafeQueueUserWorkItem(this, preferLocal: true);
        _result.SetResult(result);
        if (result.Fault is not (null or UpstreamFault.EmptyAnswer))
            throw new EndOfCopyException();
    }

    /// <summary>The answer is whole: waits a moment for the end of its body. More of the answer begins the
    /// wait anew; comments do not.</summary>
    private void WaitForEnd()
    {
        var now = Environment.TickCount64;
        if (_graceEndsMs == 0 || _relay.Parts != _partsBeforeGrace)
        {
            _graceEndsMs = now + (_relay.MayGoOnAfterFinish ? LongGraceMs : GraceMs);
            _partsBeforeGrace = _relay.Parts;
            _relay.Sink.OnAnswerWhole();
        }

        _stop.CancelAfter((int)Math.Max(1, _graceEndsMs - now));
    }

    void IThreadPoolWorkItem.Execute()
    {
        if (Interlocked.CompareExchange(ref _rest, RestIsTimed, 0) != 0)
            return;
        try
        {
            _stop.CancelAfter(LimitOfRestMs);
        }
        catch (OutOfMemoryException)
        {
            // No timer: skip the wait for the rest.
            _response.Dispose();
        }
    }

    private async Task CopyAsync(Stream body, ReadOnlyMemory<byte> begun)
    {
        Exception? fault = null;
        try
        {
            if (!begun.IsEmpty)
                await WriteAsync(begun);
            await body.CopyToAsync(this, CopyBytes, _stop.Token);
        }
        catch (Exception exception)
        {
            fault = exception;
        }

        var isOver = _isOver;
        _isOver = true;
        _registration.Dispose();
        // Not disposed: the client's token may be firing into it.
        if (Interlocked.Exchange(ref _rest, RestIsOver) == RestIsTimed || _graceEndsMs != 0)
            _stop.CancelAfter(Timeout.Infinite);
        _response.Dispose();
        await body.DisposeAsync();
        // Once an answer is over, it does not matter how its connection ended.
        if (!isOver)
            await EndWithBodyAsync(fault);
        _relay.Dispose();
    }

    private async Task EndWithBodyAsync(Exception? fault)
    {
        // Our own wait for the end is over.
        if (fault is OperationCanceledException && _graceEndsMs != 0)
            fault = null;
        BackendResult result;
        try
        {
            if (_relay.FaultOfSink is { } ofSink)
                ExceptionDispatchInfo.Throw(ofSink);
            // Before the fault: a copy whose response Abort disposes may throw anything, as the HTTP client's
            // NullReferenceException.
            _relay.CancellationToken.ThrowIfCancellationRequested();
            if (fault is not null && !UpstreamFailures.IsUpstreams(fault))
                ExceptionDispatchInfo.Throw(fault);
            result = await _relay.EndWithBodyAsync(fault);
        }
        catch (Exception exception)
        {
            _result.SetException(exception);
            return;
        }

        _result.SetResult(result);
    }
}

/// <summary>Ends a copy whose result is known: only an exception stops
/// <see cref="Stream.CopyToAsync(Stream)"/>. No caller sees it.</summary>
internal sealed class EndOfCopyException : Exception;
