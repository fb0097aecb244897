using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Answers;

/// <summary>
/// One kept answer: its events, its readers, and its end. Whoever produces it appends; every reader gets
/// every event, each at its own pace. Thread-safe.
/// </summary>
/// <param name="key">Its name.</param>
/// <param name="memory">Counts what its events take, kept or not.</param>
internal sealed partial class KeptAnswer(AnswerKey key, MemoryBudget memory)
{
    /// <summary>Memory of the name of an answer that is not kept.</summary>
    private const int MarkerBytes = 512;

    private readonly Lock _gate = new();
    private readonly AnswerLog _log = new();
    private readonly List<AnswerReader> _readers = [];
    private TaskCompletionSource<bool>? _room;
    private bool _areHeadsDue;
    private AnswerEnd? _end;
    private Func<StreamOutcome, bool>? _cancel;
    private long _orphanedMs;
    private bool _isKept = true;
    private bool _isMarker;
    private bool _isForgotten;
    private bool _hadReaders;
    private int _counted;

    public AnswerKey Key => key;

    /// <summary>Holds the name of an answer that has ended and is not kept, so that nobody takes it for
    /// another one.</summary>
    public static KeptAnswer Marker(AnswerKey key, AnswerEnd end, MemoryBudget memory)
    {
        var marker = new KeptAnswer(key, memory) { _isKept = false, _end = end, _isMarker = true };
        marker.CountLocked();
        return marker;
    }

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
    public Action? Changed { get; private set; }

    /// <summary>Tells the other daemons that the answer failed with nothing to show, before its readers know.
    /// Takes the end and its event. Null if there are no others.</summary>
    public Func<AnswerEnd, byte[], Task>? TellFailure { get; set; }

    /// <summary>False once it grew too long: its readers get the rest, but nobody can resume it.</summary>
    public bool IsKept => Volatile.Read(ref _isKept);

    /// <summary>Bytes that the store has counted for it among all that are kept. Only the store writes it.
    /// </summary>
    public long Counted { get; set; }

    /// <summary>When it ended, as <see cref="Environment.TickCount64"/> (ms). Only the store writes it.
    /// </summary>
    public long EndedMs { get; set; }

    public AnswerEnd? End => Volatile.Read(ref _end);

    /// <summary>Bytes of memory that it takes now.</summary>
    public int Capacity { get { lock (_gate) return _counted; } }

    /// <summary>Whether a client reads it.</summary>
    public bool HasReaders { get { lock (_gate) return _readers.Count > 0; } }

    /// <summary>Whether a client has read it, or has asked for more than there is.</summary>
    public bool HadReaders { get { lock (_gate) return _hadReaders; } }

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
            CountLocked();
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
            CountLocked();
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

    /// <summary>It has ended, and nobody can find it any more: it holds only what its readers have not read.
    /// </summary>
    public void Forget()
    {
        lock (_gate)
        {
            _isForgotten = true;
            _isMarker = false;
            DropReadLocked();
        }
    }

    /// <summary>Other daemons are told of it from now on.</summary>
    /// <param name="changed">As <see cref="Changed"/>.</param>
    public void BeginMirror(Action changed) => Changed = changed;

    /// <summary>Other daemons know all that they will know of it.</summary>
    public void EndMirror()
    {
        lock (_gate)
        {
            Changed = null;
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
            DropReadLocked();
            return true;
        }
    }

    private void OnAppended()
    {
        Volatile.Write(ref _areHeadsDue, true);
        CountLocked();
        PumpLocked();
        Changed?.Invoke();
    }
}
