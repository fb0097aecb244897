using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Answers;

/// <summary>
/// The kept answers of this process, running and finished, and their limits of time and memory. Thread-safe.
/// Its lock is taken before an answer's, never after it.
/// </summary>
internal sealed class AnswerStore : IDisposable
{
    /// <summary>How often expired and orphaned answers are looked for. Not at all while there are none.
    /// </summary>
    private const int SweepMs = 500;

    /// <summary>The last event of an answer, beyond its limit.</summary>
    private const int EndBytes = 16 * 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<AnswerKey, KeptAnswer> _answers = [];
    private readonly HashSet<KeptAnswer> _running = [];
    private readonly Queue<KeptAnswer> _finished = new();
    private readonly ReloadableOptions _options;
    private readonly MemoryBudget _memory;
    private readonly AnswerReports _reports;
    private readonly Timer _timer;
    private TaskCompletionSource? _idle;
    private long _bytes;
    private bool _isSweeping;

    public AnswerStore(ReloadableOptions options, MemoryBudget memory, AnswerReports reports)
    {
        _options = options;
        _memory = memory;
        _reports = reports;
        _timer = new Timer(static store => ((AnswerStore)store!).Sweep(), this, Timeout.Infinite,
            Timeout.Infinite);
        reports.Observe(Count);
    }

    /// <summary>Counts what each answer takes.</summary>
    public MemoryBudget Memory => _memory;

    public long MaxAnswerBytes => _options.Current.Answers.MaxAnswerBytes;

    /// <summary>The answer of this name, or null.</summary>
    public KeptAnswer? Find(AnswerKey key)
    {
        lock (_gate)
            return _answers.GetValueOrDefault(key);
    }

    /// <summary>The answer of this name, or a new one.</summary>
    /// <param name="key">The name.</param>
    /// <param name="create">Makes the answer; null if it may not begin.</param>
    /// <param name="isNew">True if the answer is new.</param>
    /// <param name="isFull">True if a new answer cannot be kept.</param>
    /// <returns>Null if there is none.</returns>
    public KeptAnswer? GetOrAdd(AnswerKey key, Func<KeptAnswer?> create, out bool isNew, out bool isFull)
    {
        lock (_gate)
        {
            isNew = isFull = false;
            if (_answers.TryGetValue(key, out var answer))
                return answer;
            isFull = !TryMakeRoom();
            if (isFull || create() is not { } made)
                return null;
            isNew = true;
            _answers.Add(key, made);
            _running.Add(made);
            if (!_isSweeping)
            {
                _isSweeping = true;
                _timer.Change(SweepMs, SweepMs);
            }

            return made;
        }
    }

    /// <summary>The answer takes more memory now.</summary>
    public void OnGrown(KeptAnswer answer, int capacity, long bytes)
    {
        lock (_gate)
        {
            if (!answer.IsKept)
                return;
            Recount(answer, capacity);
            var isTooLong = bytes > MaxAnswerBytes;
            if (!isTooLong && TryMakeRoom())
                return;
            // Its name stays taken: a repeated handoff must not ask the model again, nor a reader read on in
            // another answer.
            Recount(answer, 0);
            answer.StopKeeping();
            _reports.NoLongerKept(answer.Key, isTooLong);
        }
    }

    /// <summary>Counts what readers of this process hold of an answer that another daemon makes.</summary>
    /// <returns>False if there is no room, or the answer is longer than one that is kept.</returns>
    public bool TryHold(KeptAnswer answer, int capacity, long bytes)
    {
        lock (_gate)
        {
            Recount(answer, capacity);
            return bytes <= MaxAnswerBytes + EndBytes && TryMakeRoom();
        }
    }

    /// <summary>Nothing of it is held any more.</summary>
    public void Release(KeptAnswer answer)
    {
        lock (_gate)
        {
            Recount(answer, 0);
            answer.Forget();
        }
    }

    /// <summary>There is nothing to read but an error: the next handoff of that name is a new
    /// attempt.</summary>
    public void FreeName(KeptAnswer answer)
    {
        lock (_gate)
            RemoveName(answer);
    }

    /// <summary>The answer has ended.</summary>
    public void OnEnded(KeptAnswer answer)
    {
        lock (_gate)
        {
            _running.Remove(answer);
            if (_running.Count == 0)
            {
                _idle?.TrySetResult();
                _idle = null;
            }

            var isThere = _answers.TryGetValue(answer.Key, out var named) && named == answer;
            if (!isThere)
            {
                answer.Forget();
                return;
            }

            if (!answer.IsKept)
                _answers[answer.Key] = answer = KeptAnswer.Marker(answer.Key, answer.End!, _memory);
            answer.EndedMs = Environment.TickCount64;
            Recount(answer, answer.Capacity);
            _finished.Enqueue(answer);
        }
    }

    /// <summary>Completes when no answer is running.</summary>
    public Task IdleAsync()
    {
        lock (_gate)
        {
            if (_running.Count == 0)
                return Task.CompletedTask;
            _idle ??= new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            return _idle.Task;
        }
    }

    public void Dispose() => _timer.Dispose();

    private (int Running, int Finished, long Bytes) Count()
    {
        lock (_gate)
            return (_running.Count, _finished.Count, _bytes);
    }

    /// <summary>Lets the oldest finished answers go until there is room.</summary>
    private bool TryMakeRoom()
    {
        var most = _options.Current.Answers.MaxBytes;
        while (_bytes >= most || _memory.IsTight)
        {
            if (!_finished.TryDequeue(out var oldest))
                return false;
            Remove(oldest);
            _reports.Count(AnswerEvent.Evicted);
        }

        return true;
    }

    private void Remove(KeptAnswer answer)
    {
        RemoveName(answer);
        answer.Forget();
    }

    private void RemoveName(KeptAnswer answer)
    {
        if (_answers.TryGetValue(answer.Key, out var named) && named == answer)
            _answers.Remove(answer.Key);
        Recount(answer, 0);
    }

    private void Recount(KeptAnswer answer, long bytes)
    {
        var more = bytes - answer.Counted;
        answer.Counted = bytes;
        _bytes += more;
    }

    private void Sweep()
    {
        try
        {
            var answers = _options.Current.Answers;
            KeptAnswer[] running;
            lock (_gate)
            {
                var now = Environment.TickCount64;
                while (_finished.TryPeek(out var oldest) && now - oldest.EndedMs >= answers.KeepS * 1000L)
                    Remove(_finished.Dequeue());
                if (_running.Count == 0 && _finished.Count == 0)
                {
                    _isSweeping = false;
                    _timer.Change(Timeout.Infinite, Timeout.Infinite);
                    return;
                }

                running = [.. _running];
            }

            foreach (var answer in running)
            {
                if (answers.OrphanS > 0 && answer.OrphanedForMs >= answers.OrphanS * 1000L)
                    answer.Cancel?.Invoke(StreamOutcome.Orphaned);
            }
        }
        catch (OutOfMemoryException)
        {
            // The next sweep looks again.
            OutOfMemory.Survive();
        }
    }
}
