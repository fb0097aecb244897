namespace StreamingDaemon.Backends.Mock;

/// <summary>Options of the mock backend.</summary>
public sealed record MockOptions
{
    /// <summary>Milliseconds between two events, 0 to 60000.</summary>
    public int DelayMs { get; init; } = 50;

    /// <summary>Milliseconds before the first event (MOCK_LATENCY_MS), 0 to 60000.</summary>
    public int LatencyMs { get; init; }
}
