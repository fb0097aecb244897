namespace StreamingDaemon.Host.Answers;

// The readers of an answer, and the memory that it holds for them.
internal sealed partial class KeptAnswer
{
    /// <summary>Bytes that an answer that is no longer kept holds for its slowest reader. Then its producer
    /// waits. None while memory is tight.</summary>
    private const int LongestWindow = 256 * 1024;

    private int Window => memory.IsTight ? 0 : LongestWindow;

    /// <summary>Adds a reader, and sends it what is there.</summary>
    /// <param name="reader">The reader.</param>
    /// <param name="after">The last event that it has; 0 if it has none.</param>
    public AttachResult Attach(AnswerReader reader, int after)
    {
        lock (_gate)
        {
            if (!_isKept || _isForgotten)
                return AttachResult.Gone;
            _hadReaders = true;
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
            if (_readers.Count == 0 || _log.Held <= Window)
                return new ValueTask<bool>(_readers.Count > 0);
            _room ??= new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
            return new ValueTask<bool>(_room.Task);
        }
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

    /// <summary>An answer that is not kept holds what its readers have not read, and no more. One that other
    /// daemons are still told of is whole until then.</summary>
    private void DropReadLocked()
    {
        if (IsKept && !(_isForgotten && Changed is null))
            return;
        var least = _log.End;
        foreach (var reader in _readers)
            least = Math.Min(least, reader.Position);
        _log.DropBefore(least);
        CountLocked();
        if (_room is { } room && (_readers.Count == 0 || _log.Held <= Window / 2))
        {
            _room = null;
            room.SetResult(_readers.Count > 0);
        }
    }

    /// <summary>Counts its memory as it is now.</summary>
    private void CountLocked()
    {
        var bytes = _isMarker ? MarkerBytes : _log.Capacity;
        if (bytes == _counted)
            return;
        memory.Hold(bytes - _counted);
        _counted = bytes;
    }
}
