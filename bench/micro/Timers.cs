using BenchmarkDotNet.Attributes;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Micro;

/// <summary>The loop's deadlines: ten thousand clients with one each.</summary>
public class Timers
{
    private const int Count = 10_000;
    private readonly TimerWheel _wheel = new(0);
    private readonly Deadline[] _deadlines = [.. Enumerable.Range(0, Count).Select(_ => new Deadline())];
    private long _nowMs;
    private int _fired;

    /// <summary>As every send does: moves a deadline that is far away.</summary>
    [Benchmark(OperationsPerInvoke = Count)]
    public int MoveLater()
    {
        _nowMs++;
        foreach (var deadline in _deadlines)
            _wheel.Set(deadline, _nowMs + 30_000);
        return _wheel.Count;
    }

    /// <summary>Set a deadline, and fire it when it is due.</summary>
    [Benchmark(OperationsPerInvoke = Count)]
    public int SetAndFire()
    {
        foreach (var deadline in _deadlines)
            _wheel.Set(deadline, _nowMs + 50);
        _nowMs += 100;
        _wheel.Advance(_nowMs, _ => _fired++);
        return _fired;
    }

    private sealed class Deadline : LoopTimer;
}

/// <summary>The mock's pauses: a thousand streams that wait for the same millisecond, and wake.</summary>
public class Delays
{
    private const int Count = 1_000;
    private readonly DelayWheel _wheel = new();
    private StreamDelay[] _delays = [];

    [GlobalSetup]
    public void SetUp() =>
        _delays = [.. Enumerable.Range(0, Count).Select(_ => _wheel.CreateDelay(CancellationToken.None))];

    [GlobalCleanup]
    public void CleanUp() => _wheel.Dispose();

    /// <summary>The time is the millisecond itself: read the bytes.</summary>
    [Benchmark(OperationsPerInvoke = Count)]
    public Task WaitOneMillisecond()
    {
        var waits = new Task[Count];
        for (var i = 0; i < Count; i++)
            waits[i] = WaitAsync(_delays[i]);
        return Task.WhenAll(waits);
    }

    private static async Task WaitAsync(StreamDelay delay) => await delay.WaitAsync(1);
}
