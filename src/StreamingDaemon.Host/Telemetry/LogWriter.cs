using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// Lines on their way to a stream. They are gathered in memory, and one thread writes all of them with one
/// call: at most <see cref="GatherMs"/> after the first, sooner if one is urgent or many are there. Nobody
/// waits for a slow reader: lines beyond <see cref="MaxBytes"/> are lost and counted. Any thread.
/// </summary>
internal sealed class LogWriter : IDisposable
{
    /// <summary>How long a line may wait for others, ms.</summary>
    public const int GatherMs = 100;

    /// <summary>Most bytes of lines that wait while nobody reads.</summary>
    public const int MaxBytes = 8 << 20;

    /// <summary>So many bytes are written without waiting for more.</summary>
    private const int FullBytes = 64 * 1024;

    /// <summary>What a buffer keeps: a burst's memory is given back.</summary>
    private const int KeptBytes = 256 * 1024;

    private const int FirstBytes = 4 * 1024;

    private readonly object _gate = new();
    private readonly Stream _output;
    private byte[] _filling = new byte[FirstBytes];
    private byte[] _writing = new byte[FirstBytes];
    private int _filled;
    private long _lost;
    private bool _idle;
    private bool _urgent;
    private bool _ending;
    private bool _ended;

    /// <param name="output">Takes the lines; one call of it may block for good.</param>
    /// <exception cref="HandoffServerException">The system gives no thread.</exception>
    public LogWriter(Stream output)
    {
        _output = output;
        PreparedThread.Start("log", Run, stackBytes: 256 * 1024);
    }

    /// <summary>Told how many lines were lost, once there is room again.</summary>
    public Action<long>? Lost { get; set; }

    /// <param name="line">UTF-8, with its line break.</param>
    /// <param name="isUrgent">It is written at once, with what waits.</param>
    public void Append(ReadOnlySpan<byte> line, bool isUrgent)
    {
        lock (_gate)
        {
            if (_ending || _filled + line.Length > MaxBytes || !TryMakeRoom(line.Length))
            {
                _lost++;
                return;
            }

            line.CopyTo(_filling.AsSpan(_filled));
            var wasFull = _filled >= FullBytes;
            _filled += line.Length;
            // One wake-up for the first line, and one for the first reason to hurry.
            var hurries = (isUrgent && !_urgent) || (!wasFull && _filled >= FullBytes);
            _urgent |= isUrgent;
            if (_idle || hurries)
                Monitor.PulseAll(_gate);
        }
    }

    /// <summary>Writes what is there, as far as it goes in 2 s.</summary>
    public void Dispose() => End(TimeSpan.FromSeconds(2));

    /// <summary>Writes what is there, as far as it goes in that time, and takes no more.</summary>
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

    /// <returns>False at the end.</returns>
    private bool WriteOnce()
    {
        int count;
        long lost;
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
            (lost, _lost) = (_lost, 0);
        }

        try
        {
            _output.Write(_writing, 0, count);
        }
        catch (Exception e) when (e is not OutOfMemoryException)
        {
            // A full disk, a file at its limit of size, or nobody reads any more: nobody can be told.
        }

        if (_writing.Length > KeptBytes)
            _writing = new byte[FirstBytes];
        if (lost > 0)
            Lost?.Invoke(lost);
        return true;
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
            Monitor.Wait(_gate, (int)left);
    }
}
