using System.Diagnostics;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>Resident memory of a daemon over time, sampled ten times a second on its own thread.</summary>
internal sealed class MemorySampler : IDisposable
{
    private static readonly TimeSpan s_interval = TimeSpan.FromMilliseconds(100);
    private const int TreeEverySamples = 10;

    private readonly ProcessTree _tree;
    private readonly Action _onSample;
    private readonly ManualResetEventSlim _stop = new();
    private readonly Thread _thread;
    private readonly long _start = Stopwatch.GetTimestamp();
    private readonly List<(double Seconds, long Kb)> _samples = [];

    /// <param name="tree">The processes to sample.</param>
    /// <param name="onSample">Called after each sample, on the sampler's thread.</param>
    public MemorySampler(ProcessTree tree, Action onSample)
    {
        _tree = tree;
        _onSample = onSample;
        _thread = new Thread(Run) { Name = "memory", IsBackground = true };
        _thread.Start();
    }

    /// <summary>Ends the sampling and returns seconds since its start and KB.</summary>
    public IReadOnlyList<(double Seconds, long Kb)> Stop()
    {
        _stop.Set();
        _thread.Join();
        return _samples;
    }

    public void Dispose()
    {
        Stop();
        _stop.Dispose();
    }

    private void Run()
    {
        IReadOnlyList<int> pids = [];
        for (var i = 0; i == 0 || !_stop.Wait(s_interval); i++)
        {
            // Children rarely come and go; finding them is the expensive part.
            if (i % TreeEverySamples == 0)
                pids = _tree.Pids();
            _samples.Add((Stopwatch.GetElapsedTime(_start).TotalSeconds, ProcessTree.ResidentKb(pids)));
            _onSample();
        }
    }
}
