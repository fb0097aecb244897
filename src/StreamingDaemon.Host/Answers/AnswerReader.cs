using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Streams;

namespace StreamingDaemon.Host.Answers;

/// <summary>One client that reads a kept answer at its own pace. The answer calls it under its lock.
/// </summary>
internal sealed class AnswerReader(StreamSession session, KeptAnswer answer)
{
    /// <summary>A reader that is far behind gets pieces of this size.</summary>
    private const int LargestPiece = 16 * 1024;

    private readonly TaskCompletionSource<BackendResult> _done =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private int _events;
    private int _after;
    private bool _isWaiting;

    /// <summary>Bytes of the log that were sent, or are on their way.</summary>
    public long Position { get; private set; }

    /// <summary>Serves the client until its end.</summary>
    public async Task RunAsync()
    {
        BackendResult result;
        await using (session.Cancelled.UnsafeRegister(
            static reader => ((AnswerReader)reader!).OnGone(), this))
        {
            result = await _done.Task.ConfigureAwait(false);
        }

        session.Report(result, await session.Client.Ended.ConfigureAwait(false));
    }

    /// <summary>Sets where the reader begins.</summary>
    /// <param name="position">The position behind event <paramref name="events"/>.</param>
    /// <param name="events">Events of the log that it does not get.</param>
    /// <param name="after">The last event that its client has. It may be ahead of the log, if another daemon
    /// writes the answer.</param>
    public void Begin(long position, int events, int after) =>
        (Position, _events, _after) = (position, events, after);

    public void EnsureHead() => session.EnsureHead();

    /// <summary>Answers with a status, if the head was not sent.</summary>
    /// <returns>False if it was sent: the error is an event then.</returns>
    public bool TryRefuse(ErrorResponse error)
    {
        if (session.HeadSent)
            return false;
        session.FinishWithError(error);
        _done.TrySetResult(answer.End!.Result);
        return true;
    }

    /// <summary>Sends what the client's socket takes without waiting.</summary>
    /// <param name="log">The answer's events.</param>
    /// <param name="end">How the answer ended; null while it runs.</param>
    /// <returns>False if the reader needs nothing more.</returns>
    public bool Pump(AnswerLog log, AnswerEnd? end)
    {
        SkipKnown(log);
        while (!_isWaiting)
        {
            var events = log.Read(Position, LargestPiece);
            if (events.IsEmpty)
            {
                if (end is not null)
                    Finish(end);
                return end is null;
            }

            var count = Position + events.Length == log.End ? log.Events - _events : events.Count("\n\n"u8);
            Position += events.Length;
            _events += count;
            var flush = session.RelayAsync(events, count);
            if (!flush.IsCompleted)
            {
                _isWaiting = true;
                _ = GoOnAsync(flush);
            }
            else if (!flush.GetAwaiter().GetResult())
            {
                // The client left: the callback of its token is on its way.
                _isWaiting = true;
            }
        }

        return true;
    }

    /// <summary>Passes over events that the client has already.</summary>
    private void SkipKnown(AnswerLog log)
    {
        for (; _events < _after && Position < log.End; _events++)
            Position += log.Read(Position, 1).Length;
    }

    private async Task GoOnAsync(ValueTask<bool> flush)
    {
        try
        {
            if (!await flush.ConfigureAwait(false))
            {
                OnGone();
                return;
            }
        }
        catch (OperationCanceledException)
        {
            OnGone();
            return;
        }

        _isWaiting = false;
        answer.Pump(this);
    }

    private void Finish(AnswerEnd end)
    {
        if (end.IsLogged)
            session.FinishRelayed(end.Error);
        else
            session.FinishWithError(end.Error!);
        _done.TrySetResult(end.Result);
    }

    private void OnGone()
    {
        answer.Detach(this);
        session.Abandon();
        _done.TrySetResult(new BackendResult(StreamOutcome.ClientGone));
    }
}
