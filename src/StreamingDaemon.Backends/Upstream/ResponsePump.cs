using System.Runtime.CompilerServices;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The target that a response's body is copied to. It reports that bytes came, refuses endless lines, brings
/// each event's text to the sink, and knows how the answer ended. Owns the response.
/// </summary>
/// <remarks>
/// The body writes into it (<see cref="Stream.CopyToAsync(Stream, int, CancellationToken)"/>) instead of
/// being read: each read that waits costs two objects in the HTTP client and two more above it; a copy that
/// waits costs none.
///
/// The answer is over at its end marker, a moment before its body ends. Disposing the response in that moment
/// would reset an HTTP/2 stream, and proxies close a connection after many resets; on HTTP/1.1 it would cost
/// the connection. So the result is there at once, and the copy goes on for a while to the formal end.
/// </remarks>
/// <typeparam name="TEvents">Reads the upstream's events.</typeparam>
internal sealed class ResponsePump<TEvents> : Stream, IValueTaskSource<BackendResult>, IThreadPoolWorkItem
    where TEvents : struct, IEventReader
{
    /// <summary>Size of one copy: more than a token's event. Each stream holds this much.</summary>
    private const int CopyBytes = 512;

    /// <summary>Time for the body to end after the answer, and how much more it may send.</summary>
    private const int LimitOfRestMs = 2_000;
    private const int LimitOfRestBytes = 64 * 1024;

    private const int Reading = 0;
    private const int Writing = 1;
    private const int Aborted = 2;

    private const int RestIsTimed = 1;
    private const int RestIsOver = 2;

    private readonly IDisposable _response;
    private readonly IDeltaSink _sink;
    private readonly int _status;
    private readonly CancellationToken _cancellationToken;
    private readonly CancellationTokenSource _stop = new();
    private readonly SseReader<TEvents> _sse;
    private readonly TEvents _events;
    private CancellationTokenRegistration _registration;
    private ManualResetValueTaskSourceCore<BackendResult> _result;
    private Exception? _faultOfSink;
    private int _state = Reading;
    private bool _isOver;
    private int _rest;
    private int _restBytes;

    /// <param name="response">Disposed when its body has ended or is no longer needed.</param>
    /// <param name="sink">Takes the texts.</param>
    /// <param name="events">Reads the events; disposed with the response.</param>
    /// <param name="maxEventBytes">Longest line and longest event, bytes.</param>
    /// <param name="status">The response's HTTP status.</param>
    /// <param name="cancellationToken">The client's: it ends the answer and tells the upstream.</param>
    public ResponsePump(IDisposable response, IDeltaSink sink, TEvents events, int maxEventBytes, int status,
        CancellationToken cancellationToken)
    {
        _response = response;
        _sink = sink;
        _events = events;
        _sse = new SseReader<TEvents>(events, maxEventBytes);
        _status = status;
        _cancellationToken = cancellationToken;
    }

    /// <summary>Told which writes belong together.</summary>
    public IWriteBatch? Batch { get; init; }

    public override bool CanRead => false;
    public override bool CanSeek => false;
    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <summary>Brings the whole answer to the sink. Called once.</summary>
    /// <exception cref="OperationCanceledException">The client's token fired.</exception>
    /// <remarks>The sink's exceptions pass through.</remarks>
    public ValueTask<BackendResult> RunAsync(Stream body)
    {
        var version = _result.Version;
        _registration = _cancellationToken.UnsafeRegister(
            static relay => ((ResponsePump<TEvents>)relay!).Abort(), this);
        _sink.OnResponseStarted();
        _ = CopyAsync(body);
        return new ValueTask<BackendResult>(this, version);
    }

    /// <summary>The events of the bytes that came. Pooled, in case a sink makes it wait.</summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> bytes, CancellationToken cancellationToken = default)
    {
        if (_isOver)
        {
            _restBytes += bytes.Length;
            if (_restBytes > LimitOfRestBytes)
                throw new EndOfCopyException();
            return;
        }

        if (Interlocked.CompareExchange(ref _state, Writing, Reading) != Reading)
            throw new OperationCanceledException(_cancellationToken);
        try
        {
            _sink.OnUpstreamActivity();
            await RelayInBatch(bytes);
        }
        finally
        {
            Interlocked.CompareExchange(ref _state, Reading, Writing);
        }
    }

    public override Task WriteAsync(
        byte[] buffer, int offset, int count, CancellationToken cancellationToken) =>
        WriteAsync(buffer.AsMemory(offset, count), cancellationToken).AsTask();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Flush()
    {
    }

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
    private ValueTask RelayInBatch(ReadOnlyMemory<byte> bytes)
    {
        Batch?.BeginBatch();
        try
        {
            return RelayAsync(bytes);
        }
        finally
        {
            Batch?.EndBatchLater();
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask RelayAsync(ReadOnlyMemory<byte> bytes)
    {
        var offset = 0;
        while (_sse.TryRead(bytes.Span, ref offset, out var kind))
        {
            if (_events.Text.Length > 0)
                await WriteToSinkAsync();
            // It may have waited a long time for its client.
            if (Volatile.Read(ref _state) == Aborted)
                throw new OperationCanceledException(_cancellationToken);
            switch (kind)
            {
                case EventKind.Done:
                    End(BackendResult.Completed);
                    return;
                case EventKind.Error:
                    End(UpstreamFailures.FromEvent(_events.Error, _status));
                    throw new EndOfCopyException();
                case EventKind.Malformed:
                    End(UpstreamFailures.Malformed(_status));
                    throw new EndOfCopyException();
            }
        }

        if (!_sse.IsTooLong)
            return;
        End(UpstreamFailures.TooLong(_sse.MaxEventBytes, _status));
        throw new EndOfCopyException();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask WriteToSinkAsync()
    {
        try
        {
            await _sink.WriteAsync(new StreamDelta(_events.Text), _cancellationToken);
        }
        catch (Exception exception)
        {
            // An exception of the sink is not the upstream's fault.
            _faultOfSink = exception;
            throw;
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

    private async Task CopyAsync(Stream body)
    {
        Exception? fault = null;
        try
        {
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
        if (Interlocked.Exchange(ref _rest, RestIsOver) == RestIsTimed)
            _stop.CancelAfter(Timeout.Infinite);
        _response.Dispose();
        _sse.Dispose();
        var isFinished = _events.IsFinished;
        _events.Dispose();
        // Once an answer is over, it does not matter how its connection ended.
        if (!isOver)
            OnBodyEnded(fault, isFinished);
    }

    private void OnBodyEnded(Exception? fault, bool isFinished)
    {
        if (fault is null)
        {
            _result.SetResult(isFinished
                ? BackendResult.Completed
                : UpstreamFailures.Truncated(TEvents.ExpectedEnd, _status));
        }
        else if (_faultOfSink is not null)
        {
            _result.SetException(_faultOfSink);
        }
        else if (!UpstreamFailures.IsUpstreams(fault))
        {
            _result.SetException(fault);
        }
        else if (_cancellationToken.IsCancellationRequested)
        {
            _result.SetException(new OperationCanceledException(_cancellationToken));
        }
        else
        {
            _result.SetResult(UpstreamFailures.FromReading(fault, _status));
        }
    }
}

/// <summary>Ends a copy whose result is known: only an exception stops
/// <see cref="Stream.CopyToAsync(Stream)"/>. No caller sees it.</summary>
internal sealed class EndOfCopyException : Exception;
