using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Answers;

/// <summary>
/// One kept answer: its events, its readers, and its end. Whoever produces it appends; every reader gets
/// every event, each at its own pace. Thread-safe.
/// </summary>
internal sealed class KeptAnswer(AnswerKey key)
{
    /// <summary>Bytes that an answer that is no longer kept holds for its slowest reader. Then its producer
    /// waits.</summary>
    private const int LongestWindow = 256 * 1024;

    private readonly Lock _gate = new();
    private readonly AnswerLog _log = new();
    private readonly List<AnswerReader> _readers = [];
    private TaskCompletionSource<bool>? _room;
    private bool _areHeadsDue;
    private AnswerEnd? _end;
    private Func<StreamOutcome, bool>? _cancel;
    private long _orphanedMs;
    private bool _isKept = true;

    public AnswerKey Key => key;

    /// <summary>Holds the name of an answer that has ended and is not kept, so that nobody takes it for
    /// another one.</summary>
    public static KeptAnswer Marker(AnswerKey key, AnswerEnd end) => new(key) { _isKept = false, _end = end };

    /// <summary>Cancels the answer's call, and says why; false if its backend is done already. It belongs to
    /// the call, and is null once the answer has ended: otherwise the call and its request would stay in
    /// memory as long as the answer.</summary>
    public Func<StreamOutcome, bool>? Cancel
    {
        get => Volatile.Read(ref _cancel);
        init => _cancel = value;
    }

    /// <summary>Called when a reader leaves a running answer without a reader.</summary>
    public Action? Orphaned { get; init; }

    /// <summary>Called after each event and at the end, under the answer's lock: it must not block.</summary>
    public Action? Changed { get; set; }

    /// <summary>Tells the other daemons that the answer failed with nothing to show, before its readers know.
    /// Takes the end and its event. Null if there are no others.</summary>
    public Func<AnswerEnd, byte[], Task>? TellFailure { get; set; }

    /// <summary>False once it grew too long: its readers get the rest, but nobody can resume it.</summary>
    public bool IsKept => Volatile.Read(ref _isKept);

    /// <summary>Bytes that the store has counted for it. Only the store writes it.</summary>
    public long Counted { get; set; }

    /// <summary>When it ended, as <see cref="Environment.TickCount64"/> (ms). Only the store writes it.
    /// </summary>
    public long EndedMs { get; set; }

    public AnswerEnd? End => Volatile.Read(ref _end);

    /// <summary>Bytes of memory that it takes now.</summary>
    public int Capacity { get { lock (_gate) return _log.Capacity; } }

    /// <summary>Whether a client reads it.</summary>
    public bool HasReaders { get { lock (_gate) return _readers.Count > 0; } }

    /// <summary>True once readers have a head, so that a failure can no longer be a status.</summary>
    public bool AreHeadsSent => Volatile.Read(ref _areHeadsDue);

    /// <summary>How long a running answer has had no reader (ms); 0 if it has one, or has ended.</summary>
    public long OrphanedForMs
    {
        get
        {
            lock (_gate)
                return _orphanedMs == 0 || _end is not null ? 0 : Environment.TickCount64 - _orphanedMs;
        }
    }

    /// <summary>Another daemon has readers: it is not orphaned.</summary>
    public void OnReadElsewhere()
    {
        lock (_gate)
            _orphanedMs = _orphanedMs == 0 ? 0 : Environment.TickCount64;
    }

    /// <summary>Appends an event, and sends it to the readers that are not behind.</summary>
    /// <returns>Bytes of memory that the answer takes now, and bytes of its events.</returns>
    /// <exception cref="OperationCanceledException">The answer has ended.</exception>
    public (int Capacity, long Bytes) Append(
        StreamFormat format, StreamDelta delta, in AnswerFacts facts)
    {
        lock (_gate)
        {
            if (_end is not null)
                throw new OperationCanceledException("the answer has ended");
            _log.BeginEvent();
            format.Write(_log, delta, facts);
            OnAppended();
            return (_log.Capacity, _log.End);
        }
    }

    /// <summary>Appends whole events that another daemon wrote.</summary>
    /// <returns>As <see cref="Append"/>.</returns>
    public (int Capacity, long Bytes) AppendEvents(ReadOnlySpan<byte> events, int count)
    {
        lock (_gate)
        {
            _log.Append(events, count);
            OnAppended();
            return (_log.Capacity, _log.End);
        }
    }

    /// <summary>A copy of the events after an event, up to 64 KiB, the id of the last one, and whether there
    /// are more.</summary>
    public (byte[] Bytes, int Last, bool HasMore) EventsAfter(int id)
    {
        lock (_gate)
        {
            if (!_isKept || id >= _log.Events)
                return ([], id, false);
            var events = _log.Read(_log.PositionAfter(id), 64 * 1024);
            var last = id + events.Count("\n\n"u8);
            return (events.ToArray(), last, last < _log.Events);
        }
    }

    /// <summary>Appends the event that ends the answer: its error, or the end of a whole one.</summary>
    public void AppendEnd(StreamFormat format, ErrorResponse? error, in AnswerFacts facts)
    {
        lock (_gate)
        {
            _log.BeginEvent();
            if (error is null)
                format.WriteDone(_log);
            else
                format.WriteError(_log, error, facts);
        }
    }

    /// <summary>Ends the answer: its readers get the rest and the end.</summary>
    /// <param name="end">How it ended.</param>
    /// <param name="last">The last event, unless it is there already.</param>
    public void Finish(AnswerEnd end, ReadOnlySpan<byte> last = default)
    {
        lock (_gate)
        {
            if (last.Length > 0)
                _log.Append(last, 1);
            Volatile.Write(ref _end, end);
            Volatile.Write(ref _cancel, null);
            if (IsKept)
                _log.Seal();
            PumpLocked();
            Changed?.Invoke();
        }
    }

    /// <summary>From here on, it holds only what its readers have not read.</summary>
    public void StopKeeping()
    {
        lock (_gate)
        {
            Volatile.Write(ref _isKept, false);
            DropReadLocked();
        }
    }

    /// <summary>Sends every reader its head, unless it was sent already.</summary>
    public void EnsureHeads()
    {
        lock (_gate)
        {
            Volatile.Write(ref _areHeadsDue, true);
            foreach (var reader in _readers)
                reader.EnsureHead();
        }
    }

    /// <summary>Adds a reader, and sends it what is there.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="after">The last event that it has; 0 if it has none.</param>
    public AttachResult Attach(AnswerReader reader, int after)
    {
        lock (_gate)
        {
            if (!_isKept)
                return AttachResult.Gone;
            if (_end is { IsLogged: true } && after > 0 && after >= _log.Events)
                return AttachResult.HasAll;
            reader.Begin(_log.PositionAfter(after), Math.Min(after, _log.Events), after);
            _orphanedMs = 0;
            _readers.Add(reader);
            // If all it will get is an error, that is a status.
            var isOver = _end is not null && (FailedEmptyLocked() || after >= _log.Events);
            if (_areHeadsDue && !isOver)
                reader.EnsureHead();
            PumpLocked(reader);
            return AttachResult.Attached;
        }
    }

    /// <summary>Ends an answer that another daemon makes, for this one: nobody reads it here.</summary>
    /// <returns>False if it has a reader.</returns>
    public bool TryRetire(AnswerEnd end)
    {
        lock (_gate)
        {
            if (_readers.Count > 0)
                return false;
            _isKept = false;
            _end = end;
            return true;
        }
    }

    /// <summary>The reader left, or has everything.</summary>
    public void Detach(AnswerReader reader)
    {
        bool isOrphaned;
        lock (_gate)
        {
            if (!_readers.Remove(reader))
                return;
            isOrphaned = _readers.Count == 0 && _end is null;
            if (isOrphaned)
                _orphanedMs = Math.Max(1, Environment.TickCount64);
            DropReadLocked();
        }

        if (isOrphaned)
            Orphaned?.Invoke();
    }

    /// <summary>The reader's socket takes more.</summary>
    public void Pump(AnswerReader reader)
    {
        lock (_gate)
            PumpLocked(reader);
    }

    /// <summary>Waits until a long answer that is not kept may grow on.</summary>
    /// <returns>False if it has no reader: nobody will ever read it.</returns>
    public ValueTask<bool> WaitForReadersAsync()
    {
        lock (_gate)
        {
            DropReadLocked();
            if (_readers.Count == 0 || _log.Held <= LongestWindow)
                return new ValueTask<bool>(_readers.Count > 0);
            _room ??= new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask<bool>(_room.Task);
        }
    }

    private void OnAppended()
    {
        Volatile.Write(ref _areHeadsDue, true);
        PumpLocked();
        Changed?.Invoke();
    }

    private void PumpLocked()
    {
        // From the end: a reader that is done is removed.
        for (var i = _readers.Count - 1; i >= 0; i--)
            PumpLocked(_readers[i]);
    }

    private void PumpLocked(AnswerReader reader)
    {
        if ((FailedEmptyLocked() && reader.TryRefuse(_end!.Error!)) || !reader.Pump(_log, _end))
            _readers.Remove(reader);
        DropReadLocked();
    }

    /// <summary>There is nothing but an error, which a reader without a head gets as a status.</summary>
    private bool FailedEmptyLocked() => _end is { Error: not null, IsLogged: true } && _log.Events == 1;

    /// <summary>An answer that is not kept holds what its readers have not read, and no more.</summary>
    private void DropReadLocked()
    {
        if (IsKept)
            return;
        var least = _log.End;
        foreach (var reader in _readers)
            least = Math.Min(least, reader.Position);
        _log.DropBefore(least);
        if (_room is { } room && (_readers.Count == 0 || _log.Held <= LongestWindow / 2))
        {
            _room = null;
            room.SetResult(_readers.Count > 0);
        }
    }
}
