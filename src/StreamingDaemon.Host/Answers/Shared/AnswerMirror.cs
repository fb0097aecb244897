using System.Threading.Channels;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>Writes one answer of this daemon to Redis, in batches, and holds its lease.</summary>
internal sealed class AnswerMirror(KeptAnswer answer, RedisAnswers store, string owner)
{
    /// <summary>Tokens of this long leave in one command.</summary>
    private const int BatchMs = 10;

    /// <summary>An answer that says nothing renews its lease this often, and looks whether it is to stop.
    /// </summary>
    private static readonly TimeSpan s_renewal = TimeSpan.FromSeconds(1);

    /// <summary>Readers wait no longer than this for Redis to know of a failure.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    private Failure? _failure;

    /// <summary>The answer has new events, or has ended. Does not block.</summary>
    public void Signal() => _changed.Writer.TryWrite(true);

    /// <summary>The answer failed with nothing to show. Returns once Redis has that, and the name is free; or
    /// if Redis does not answer.</summary>
    /// <param name="end">How it failed.</param>
    /// <param name="error">The event that says so.</param>
    public Task FailAsync(AnswerEnd end, byte[] error)
    {
        Volatile.Write(ref _failure, new Failure(end, error));
        Signal();
        return Task.WhenAny(_ended.Task, Task.Delay(s_patience));
    }

    /// <summary>Runs until the answer's end is in Redis, or the lease is lost.</summary>
    public async Task RunAsync()
    {
        try
        {
            await MirrorAsync().ConfigureAwait(false);
        }
        finally
        {
            _ended.TrySetResult();
            answer.EndMirror();
        }
    }

    private async Task MirrorAsync()
    {
        var last = 0;
        while (true)
        {
            await WaitAsync().ConfigureAwait(false);
            if (Volatile.Read(ref _failure) is { } failure)
            {
                await store.FailAsync(answer.Key, owner, failure.End, failure.Error).ConfigureAwait(false);
                return;
            }

            // The end is looked at first: nothing is appended after it.
            var end = answer.End;
            if (!answer.IsKept)
            {
                await store.GiveUpAsync(answer.Key, owner).ConfigureAwait(false);
                return;
            }

            var hasMore = true;
            while (hasMore)
            {
                (var bytes, var upTo, hasMore) = answer.EventsAfter(last);
                var isEnd = end is not null && !hasMore;
                var state = await (isEnd
                    ? store.EndAsync(answer.Key, owner, last, upTo, bytes, end!)
                    : store.AppendAsync(answer.Key, owner, last, upTo, bytes)).ConfigureAwait(false);
                if (state == MirrorState.Forgotten)
                {
                    if (!await store.ReclaimAsync(answer.Key, owner).ConfigureAwait(false))
                        return;
                    (last, hasMore) = (0, true);
                    continue;
                }

                if (isEnd || state == MirrorState.Lost)
                    return;
                if (state.HasFlag(MirrorState.Stop))
                    answer.Cancel?.Invoke(Backends.StreamOutcome.Stopped);
                if (state.HasFlag(MirrorState.IsRead))
                    answer.OnReadElsewhere();
                last = upTo;
            }
        }
    }

    private async Task WaitAsync()
    {
        using var renewal = new CancellationTokenSource(s_renewal);
        try
        {
            await _changed.Reader.ReadAsync(renewal.Token).ConfigureAwait(false);
            await Task.Delay(BatchMs, CancellationToken.None).ConfigureAwait(false);
        }
        catch (OperationCanceledException)
        {
            // Nothing new: only the lease is renewed.
        }
    }

    private sealed record Failure(AnswerEnd End, byte[] Error);
}

/// <summary>What Redis said to a mirror: what its scripts return.</summary>
[Flags]
internal enum MirrorState
{
    /// <summary>Another daemon has the lease: nothing more is written.</summary>
    Lost = 0,

    Written = 1,

    /// <summary>Another daemon asks for the answer's end.</summary>
    Stop = 2,

    /// <summary>Another daemon has readers.</summary>
    IsRead = 4,

    /// <summary>Redis does not know the answer: it has lost its data or a key of it, or was silent for longer
    /// than a lease.</summary>
    Forgotten = 8,
}
