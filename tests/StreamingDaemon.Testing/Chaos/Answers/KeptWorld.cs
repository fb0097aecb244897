using System.Collections.Concurrent;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>The daemons, and what happens around their readers as far as it excuses what these get: a daemon
/// that was killed, a Redis that is gone or has lost its data.</summary>
/// <param name="targets">The daemons; several share their answers.</param>
public sealed class KeptWorld(IReadOnlyList<KeptTarget> targets)
{
    /// <summary>The daemons' <c>answers.orphan_s</c>.</summary>
    public const int OrphanS = 2;

    /// <summary>The lease of a dead daemon (6 s), and the time until all have noticed.</summary>
    private const int AftermathMs = 9_000;

    private readonly ConcurrentDictionary<string, long> _counts = new();
    private readonly ConcurrentQueue<string> _faults = new();
    private readonly long _beganMs = Environment.TickCount64;
    private long _troubleMs = long.MinValue / 2;

    public IReadOnlyList<KeptTarget> Targets => targets;

    public bool IsShared => targets.Count > 1;

    /// <summary>What happened, and how often.</summary>
    public IReadOnlyDictionary<string, long> Counts => _counts;

    public void Count(string what) => _counts.AddOrUpdate(what, 1, static (_, count) => count + 1);

    /// <summary>The faults, with their times.</summary>
    public IReadOnlyCollection<string> Faults => _faults;

    /// <summary>A fault begins.</summary>
    public void Fault(string what)
    {
        Count($"fault: {what}");
        _faults.Enqueue($"{(Environment.TickCount64 - _beganMs) / 1000.0:0.0} s: {what}");
    }

    /// <summary>Something is wrong from now on, for as long as this is called again.</summary>
    public void Trouble() => Volatile.Write(ref _troubleMs, Environment.TickCount64);

    /// <summary>Whether something was wrong since that time, or shortly before.</summary>
    public bool WasTroubledSince(long milliseconds) => Volatile.Read(ref _troubleMs) + AftermathMs >= milliseconds;
}
