using System.Diagnostics.CodeAnalysis;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Answers;

/// <summary>The backend's call for a kept answer: what it writes goes into the answer, whoever reads it.
/// </summary>
[SuppressMessage("Design", "CA1001",
    Justification = "A token source without a timer holds nothing to dispose.")]
internal sealed class AnswerCall : UpstreamCall
{
    private static readonly ReadOnlyMemory<byte> s_stop = "stop"u8.ToArray();

    private readonly CancellationTokenSource _cancellation = new();
    private readonly AnswerStore _store;
    private readonly AnswerReports _reports;
    private DeltaKinds _last;
    private bool _hasFinishReason;
    private int _capacity;

    /// <param name="first">The stream that asked for the answer.</param>
    /// <param name="key">The answer's name.</param>
    /// <param name="store">Keeps the answer.</param>
    /// <param name="reports">Counts and logs.</param>
    public AnswerCall(StreamSession first, AnswerKey key, AnswerStore store, AnswerReports reports)
        : base(first.Request, first.Backend, first.Format)
    {
        _store = store;
        _reports = reports;
        Answer = new KeptAnswer(key, store.Memory)
        {
            Cancel = TryCancel,
            Orphaned = () => reports.Count(AnswerEvent.Orphaned),
        };
    }

    public KeptAnswer Answer { get; }

    public override CancellationToken Cancelled => _cancellation.Token;

    public override bool HeadSent => Answer.AreHeadsSent;

    public override ValueTask<ClientEnd> Ended => new(ClientEnd.Completed);

    /// <remarks>Its readers may all leave: the call goes on.</remarks>
    protected override bool IsGone => false;

    public override void EnsureHead() => Answer.EnsureHeads();

    public override void OnRetry(UpstreamFault fault) => _reports.Metrics.OnUpstreamRetry(fault);

    public override ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
    {
        OnUpstreamActivity();
        IsWhole = false;
        if (Content is not null && IsOnlyCollected(delta))
            return ValueTask.CompletedTask;
        var (capacity, bytes) = Append(delta);
        State = StreamState.Streaming;
        if (capacity != _capacity || bytes > _store.MaxAnswerBytes)
        {
            _capacity = capacity;
            _store.OnGrown(Answer, capacity, bytes);
        }

        return Answer.IsKept ? ValueTask.CompletedTask : new ValueTask(WaitForReadersAsync());
    }

    public override void Finish(BackendResult result, ErrorResponse? error)
    {
        switch (result.Outcome)
        {
            case StreamOutcome.Completed or StreamOutcome.Stopped:
                if (NeedsFinishReason(result.Outcome))
                    Append(new StreamDelta(s_stop, DeltaKinds.FinishReason));
                Answer.AppendEnd(Format, error: null, Facts());
                break;
            case StreamOutcome.UpstreamTruncated:
                // An event, not the comment of a plain stream: a reader that comes back later must get it.
                error = ErrorResponse.BrokenOff;
                break;
        }

        if (Events == 0 && error is not null)
        {
            _ = FailEmptyAsync(new AnswerEnd(result, error));
            return;
        }

        if (error is not null)
            Answer.AppendEnd(Format, error, Facts());
        Answer.Finish(new AnswerEnd(result, error));
        _store.OnEnded(Answer);
    }

    /// <summary>Ends an answer that failed with nothing to show. Its readers may ask again at once, on any
    /// daemon: its name must be free before they know.</summary>
    private async Task FailEmptyAsync(AnswerEnd end)
    {
        _store.FreeName(Answer);
        var log = new AnswerLog();
        log.BeginEvent();
        Format.WriteError(log, end.Error!, Facts());
        var error = log.Read(0, int.MaxValue).ToArray();
        if (Answer.TellFailure is { } tell)
            await tell(end, error).ConfigureAwait(false);
        Answer.Finish(end, error);
        _store.OnEnded(Answer);
    }

    public override void Report(BackendResult result, ClientEnd end) =>
        _reports.Ended(this, result, TimeSpan.FromMilliseconds(Environment.TickCount64 - StartedMs));

    protected override void FireCancelled() => _ = _cancellation.CancelAsync();

    private (int Capacity, long Bytes) Append(StreamDelta delta)
    {
        var size = Answer.Append(Format, delta, Facts());
        Events++;
        _last = delta.Kind;
        _hasFinishReason |= delta.Kind == DeltaKinds.FinishReason;
        return size;
    }

    /// <summary>Must the daemon itself say why the answer ended?</summary>
    private bool NeedsFinishReason(StreamOutcome outcome)
    {
        // Chunks hold their reason in themselves: the call is whole once it was sent.
        if (_hasFinishReason || (IsWhole && _last == DeltaKinds.Chunk))
            return false;
        // An answer of chunks that ended by itself has the reason in its last ones.
        return outcome == StreamOutcome.Stopped
            ? Format.NeedsFinishReason || Request.Shows(DeltaKinds.FinishReason)
            : Format.NeedsFinishReason && _last is DeltaKinds.Text or DeltaKinds.Reasoning;
    }

    private bool TryCancel(StreamOutcome outcome)
    {
        if (IsConcluded)
            return CancelOutcome == outcome;
        Cancel(outcome);
        return true;
    }

    private async Task WaitForReadersAsync()
    {
        IsWaitingForClient = true;
        var isRead = await Answer.WaitForReadersAsync().ConfigureAwait(false);
        OnUpstreamActivity();
        IsWaitingForClient = false;
        if (isRead)
            return;
        // It cannot be resumed either.
        Cancel(StreamOutcome.Orphaned);
        throw new OperationCanceledException("nobody reads the answer", Cancelled);
    }
}
