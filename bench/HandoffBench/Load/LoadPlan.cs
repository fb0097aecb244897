namespace StreamingDaemon.Bench.Load;

/// <summary>What is asked of a daemon in one run.</summary>
internal sealed record LoadPlan
{
    /// <summary>Clients over loopback TCP instead of Unix pairs.</summary>
    public bool Tcp { get; init; }

    /// <summary>Open loop: streams in all.</summary>
    public int Streams { get; init; } = 1_000;

    /// <summary>Open loop: arrivals a second; 0 is all at once.</summary>
    public double Rate { get; init; }

    /// <summary>Closed loop: streams at a time, the next begun when one ends; 0 is the open loop.</summary>
    public int Concurrency { get; init; }

    /// <summary>Closed loop: for how long streams are begun.</summary>
    public TimeSpan Duration { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>After the last arrival; what is not over then counts as timed out.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The handoff's JSON, the same for every stream: the answers must be the same bytes.</summary>
    public ReadOnlyMemory<byte> Request { get; init; }

    /// <summary>Between two events at their source, milliseconds: what a gap is compared with.</summary>
    public double DelayMs { get; init; }

    /// <summary>Open loop: every client is connected before the clock runs, for what times no connecting:
    /// goodput. Two descriptors a client until it is handed over.</summary>
    public bool ConnectFirst { get; init; }

    /// <summary>
    /// Reads an answer when it has ended, not as it comes: it must fit into the socket's buffer. That leaves
    /// the cores to the daemon, for what times no event: goodput.
    /// </summary>
    public bool ReadAtEnd { get; init; }

    public bool IsClosedLoop => Concurrency > 0;

    /// <summary>Streams that can be open at a time.</summary>
    public int Slots => IsClosedLoop ? Concurrency : Streams;

    /// <summary>What the clients hold at most.</summary>
    public int Descriptors => ConnectsFirst ? 2 * Slots : Slots;

    /// <summary>The closed loop makes its clients one by one.</summary>
    public bool ConnectsFirst => ConnectFirst && !IsClosedLoop;
}
