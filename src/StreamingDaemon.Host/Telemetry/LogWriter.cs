using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// Writes log lines in batches. Lines are gathered in memory, and one thread writes all of them with one
/// call: at most <see cref="GatherMs"/> after the first, sooner if a line is urgent or there are many. No
/// caller waits for a slow reader: lines beyond <see cref="MaxBytes"/> are dropped and counted. Thread-safe.
/// </summary>
internal sealed class LogWriter : IDisposable
{
    /// <summary>How long a line may wait for others, ms.</summary>
    public const int GatherMs = 100;

    /// <summary>Most bytes of lines queued; more are dropped.</summary>
    public const int MaxBytes = 8 << 20;

    /// <summary>With this many bytes, the writer does not wait for more.</summary>
    private const int FullBytes = 64 * 1024;

    /// <summary>A buffer larger than this is freed after its write, to return a burst's memory.</summary>
    private const int KeptBytes = 256 * 1024;

    private const int FirstBytes = 4 * 1024;

    private readonly object _gate = new();
    private readonly Stream _output;
    private byte[] _filling = new byte[FirstBytes];
    private byte[] _writing = new byte[FirstBytes];
    private int _filled;

    /// <summary>Lost lines: all, and those that <see cref="Lost"/> was not told of yet.</summary>
    private long _lost, _untold;
    private bool _idle;
    private bool _urgent;
    private bool _ending;
    private bool _ended;

    /// <param name="output">Gets the lines. A write to it may block for ever.</param>
    /// <exception cref="HandoffServerException">The system refuses a thread.</exception>
    public LogWriter(Stream output)
    {
        _output = output;
        PreparedThread.Start("log", Run, stackBytes: 256 * 1024);
    }

    /// <summary>Called with the number of dropped lines, once there is room again.</summary>
    public Action<long>? Lost { get; set; }

    /// <summary>Number of lines lost since the start.</summary>
    public long LostLines
    {
        get
        {
            lock (_gate)
                return _lost;
        }
    }

    /// <summary>Queues a line.</summary>
    /// <param name="line">The line in UTF-8, with its line end.</param>
    /// <param name="isUrgent">True to write it at once, with all queued lines.</param>
    public void Append(ReadOnlySpan<byte> line, bool isUrgent)
    {
        lock (_gate)
        {
            if (_ending || _filled + line.Length > MaxBytes || !TryMakeRoom(line.Length))
            {
                _lost++;
                _untold++;
                return;
            }

            line.CopyTo(_filling.AsSpan(_filled));
            var wasFull = _filled >= FullBytes;
            _filled += line.Length;
            // At most two wake-ups: one for the first line, one for the first reason to write at once.
            var hurries = (isUrgent && !_urgent) || (!wasFull && _filled >= FullBytes);
            _urgent |= isUrgent;
            if (_idle || hurries)
                Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Writes the queued lines, for at most 2 s.</summary>
    public void Dispose() => End(TimeSpan.FromSeconds(2));

    /// <summary>Writes the queued lines, for at most that time, and accepts no more.</summary>
    public void End(TimeSpan timeout)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        lock (_gate)
        {
            _ending = true;
            Monitor.PulseAll(_gate);
            while (!_ended && deadline - Environment.TickCount64 is > 0 and var left)
                Monitor.Wait(_gate, TimeSpan.FromMilliseconds(left));
        }
    }

    private bool TryMakeRoom(int bytes)
    {
        if (_filled + bytes <= _filling.Length)
            return true;
        try
        {
            Array.Resize(ref _filling, Math.Max(_filled + bytes, _filling.Length * 2));
            return true;
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
            return false;
        }
    }

    private void Run()
    {
        while (true)
        {
            try
            {
                if (!WriteOnce())
                    return;
            }
            catch (OutOfMemoryException)
            {
                OutOfMemory.Survive();
            }
        }
    }

    /// <returns>False if everything is written after <see cref="End"/>.</returns>
    private bool WriteOnce()
    {
        int count;
        long untold;
        lock (_gate)
        {
            AwaitLines();
            if (_filled == 0)
            {
                _ended = true;
                Monitor.PulseAll(_gate);
                return false;
            }

            (_filling, _writing) = (_writing, _filling);
            (count, _filled, _urgent) = (_filled, 0, false);
            (untold, _untold) = (_untold, 0);
        }

        try
        {
            _output.Write(_writing, 0, count);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // The disk is full, the file is at its size limit, or nobody reads any more: there is nowhere to
            // report it until a write succeeds.
            CountUnwritten(_writing.AsSpan(0, count), untold);
            untold = 0;
        }

        if (_writing.Length > KeptBytes)
            _writing = new byte[FirstBytes];
        if (untold > 0)
            Lost?.Invoke(untold);
        return true;
    }

    /// <summary>Counts the lines of a write that failed, though some of them may have been written.</summary>
    private void CountUnwritten(ReadOnlySpan<byte> lines, long untold)
    {
        var unwritten = lines.Count((byte)'\n');
        lock (_gate)
        {
            _lost += unwritten;
            _untold += untold + unwritten;
        }
    }

    private void AwaitLines()
    {
        _idle = true;
        while (_filled == 0 && !_ending)
            Monitor.Wait(_gate);
        _idle = false;
        var deadline = Environment.TickCount64 + GatherMs;
        while (!_urgent && !_ending && _filled < FullBytes
               && deadline - Environment.TickCount64 is > 0 and var left)
        {
            Monitor.Wait(_gate, (int)left);
        }
    }
}
