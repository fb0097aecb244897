using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Streams;

/// <summary>Runs the backend's part of a call, from the limits to the end. Every call ends exactly once.
/// </summary>
internal sealed class CallRunner
{
    /// <summary>How long retries may take once the head is sent. A failure can no longer be a status then,
    /// and a person waits at the browser.</summary>
    private static readonly TimeSpan s_retryWindowAfterHead = TimeSpan.FromSeconds(1);

    private readonly int _headWaitMs;
    private readonly StreamWatchdog _watchdog;
    private readonly UserLimits _limits;
    private readonly BackendConcurrencyLimiter _workers;
    private readonly HandoffLog _log;
    private readonly AnswerDelivery? _deliveries;

    public CallRunner(DaemonOptions options, StreamWatchdog watchdog, UserLimits limits,
        BackendConcurrencyLimiter workers, HandoffLog log, AnswerDelivery? deliveries = null)
    {
        _headWaitMs = options.Streaming.HeadWaitMs;
        _watchdog = watchdog;
        _limits = limits;
        _workers = workers;
        _log = log;
        _deliveries = deliveries;
        // A finished call accepts no more writes, so a backend that still runs does no harm.
        watchdog.Abandoned = call => _ = ConcludeAsync(call, Cancelled(call));
    }

    /// <summary>Counts the call for its user.</summary>
    /// <returns>Why it is refused; null if it may run.</returns>
    public ErrorResponse? Admit(UpstreamCall call)
    {
        var permit = _limits.Enter(call.Request.UserId);
        call.Permit = permit.Lease;
        return !permit.IsRefused ? null
            : permit.RetryAfterSeconds is { } seconds ? ErrorResponse.RateLimited(seconds)
            : ErrorResponse.TooManyStreams;
    }

    /// <summary>Runs the call until its backend returns. If the backend blocks this thread or never
    /// returns, the watchdog ends the call.</summary>
    public async Task RunAsync(UpstreamCall call)
    {
        BackendResult result;
        try
        {
            _deliveries?.Begin(call);
            _watchdog.Add(call);
            if (_headWaitMs == 0)
                call.EnsureHead();
            // Frees the thread that delivers handoffs for the next one: backends run on the thread pool.
            if (!call.Backend.BeginsAtOnce)
                await Task.Yield();
            // No ConfigureAwait(false): its awaiter would take eight more bytes in each stream. Nor would it
            // change anything, because these threads have no synchronization context.
            result = await (_workers.IsLimited ? CallWithWorkerAsync(call) : CallBackend(call));
        }
        catch (OperationCanceledException) when (call.CancelOutcome is not null)
        {
            result = Cancelled(call);
        }
        catch (Exception e)
        {
            _log.BackendFault(e, call.Backend.Name, call.Request.RequestId);
            result = FaultOf(e);
        }

        // Not ConcludeAsync: a second async method would allocate one more object for each stream.
        if (!call.TryConclude())
            return;
        // Not awaited as an argument of Report: the state machine would hold the call and the result twice.
        var end = await EndAsync(call, result, null);
        call.Report(result, end);
    }

    /// <summary>Waits for a worker slot, and calls the backend. Used only if there is a limit: its awaiter
    /// takes memory in each stream.</summary>
    private async Task<BackendResult> CallWithWorkerAsync(UpstreamCall call)
    {
        call.Worker = await _workers.EnterAsync(call.Cancelled).ConfigureAwait(false);
        return await CallBackend(call).ConfigureAwait(false);
    }

    private Task<BackendResult> CallBackend(UpstreamCall call)
    {
        // In a full thread pool, the call may be over before this line runs.
        call.Cancelled.ThrowIfCancellationRequested();
        call.MarkPending();
        call.Request.RetryWindow = RetryWindow(call);
        return call.Backend.StreamAsync(call.Request, call, call.Cancelled);
    }

    /// <summary>Ends a call that did not run, or whose backend does not return.</summary>
    public async Task ConcludeAsync(UpstreamCall call, BackendResult result, ErrorResponse? refusal = null)
    {
        if (call.TryConclude())
            call.Report(result, await EndAsync(call, result, refusal).ConfigureAwait(false));
    }

    /// <summary>The result of a call that failed because of a fault in the daemon.</summary>
    public static BackendResult FaultOf(Exception exception) => new(
        exception is OutOfMemoryException ? StreamOutcome.OverMemory : StreamOutcome.InternalError,
        exception.GetType().Name);

    /// <summary>Ends the call. If its answer is to be delivered, it is on the disk first.</summary>
    private ValueTask<ClientEnd> EndAsync(UpstreamCall call, BackendResult result, ErrorResponse? refusal)
    {
        if (call.Content is not null)
            return EndDeliveredAsync(call, result, refusal);
        End(call, result, refusal ?? ErrorResponse.For(result));
        return call.Ended;
    }

    private async ValueTask<ClientEnd> EndDeliveredAsync(
        UpstreamCall call, BackendResult result, ErrorResponse? refusal)
    {
        await _deliveries!.EndAsync(call, result).ConfigureAwait(false);
        End(call, result, refusal ?? ErrorResponse.For(result));
        return await call.Ended.ConfigureAwait(false);
    }

    /// <summary>Writes the call's end and releases what it held.</summary>
    private void End(UpstreamCall call, BackendResult result, ErrorResponse? error)
    {
        // Release the permit before the end is sent: a client that has read the end may ask again at once.
        // A client that still reads what was sent needs no upstream, so it does not count for its user.
        call.Permit?.Dispose();
        call.Finish(result, error);
        _watchdog.Remove(call);
        call.Worker?.Dispose();
    }

    /// <summary>How long retries may take: until the head must be sent, because until then a failure can
    /// still be a status.</summary>
    private TimeSpan RetryWindow(UpstreamCall call) => call.HeadSent
        ? s_retryWindowAfterHead
        : TimeSpan.FromMilliseconds(_headWaitMs - (Environment.TickCount64 - call.StartedMs));

    private static BackendResult Cancelled(UpstreamCall call)
    {
        var outcome = call.CancelOutcome ?? StreamOutcome.ClientGone;
        if (outcome != StreamOutcome.UpstreamTimeout)
            return new BackendResult(outcome);
        if (call.State == StreamState.Streaming)
        {
            return new BackendResult(outcome, "the upstream fell silent")
            {
                Fault = UpstreamFault.IdleTimeout,
            };
        }

        const string NoToken = "the upstream sent no token in time";
        var hint = call.Backend.TimeoutHint;
        return new BackendResult(outcome, hint is null ? NoToken : $"{NoToken}; {hint}")
        {
            Fault = UpstreamFault.FirstTokenTimeout,
        };
    }
}
