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

    private readonly Channel<bool> _changed = Channel.CreateBounded<bool>(
        new BoundedChannelOptions(1) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });

    /// <summary>The answer has new events, or has ended. Does not block.</summary>
    public void Signal() => _changed.Writer.TryWrite(true);

    /// <summary>Runs until the answer's end is in Redis, or the lease is lost.</summary>
    public async Task RunAsync()
    {
        var last = 0;
        while (true)
        {
            await WaitAsync().ConfigureAwait(false);
            // The end is looked at first: nothing is appended after it.
            var end = answer.End;
            if (!answer.IsKept && end is null)
            {
                await store.ReleaseAsync(answer.Key, owner).ConfigureAwait(false);
                return;
            }

            var hasMore = true;
            while (hasMore)
            {
                (var bytes, var upTo, hasMore) = answer.EventsAfter(last);
                var state = await store.AppendAsync(answer.Key, owner, upTo, bytes).ConfigureAwait(false);
                if (state == MirrorState.Lost)
                    return;
                if (state == MirrorState.Stop)
                    answer.Cancel?.Invoke(Backends.StreamOutcome.Stopped);
                last = upTo;
            }

            if (end is null)
                continue;
            await store.EndAsync(answer.Key, owner, last, end, isEmpty: end.Error is not null && last <= 1)
                .ConfigureAwait(false);
            return;
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
}

/// <summary>What Redis said to a mirror.</summary>
internal enum MirrorState
{
    Written,

    /// <summary>Written, and another daemon asks for the answer's end.</summary>
    Stop,

    /// <summary>The lease is lost: nothing more is written.</summary>
    Lost,
}
