namespace StreamingDaemon.Bench.Load;

/// <summary>The load on a daemon in one run.</summary>
internal sealed record LoadPlan
{
    /// <summary>Clients over loopback TCP instead of Unix pairs.</summary>
    public bool Tcp { get; init; }

    /// <summary>Open loop: total streams.</summary>
    public int Streams { get; init; } = 1_000;

    /// <summary>Open loop: arrivals a second; 0 is all at once.</summary>
    public double Rate { get; init; }

    /// <summary>Closed loop: concurrent streams, the next begins when one ends; 0 is the open loop.</summary>
    public int Concurrency { get; init; }

    /// <summary>Closed loop: how long new streams begin.</summary>
    public TimeSpan Duration { get; init; } = TimeSpan.FromSeconds(10);

    /// <summary>Wait after the last arrival; a stream that is not over by then has timed out.</summary>
    public TimeSpan Patience { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>The handoff's JSON, the same for every stream: the answers must be the same bytes.</summary>
    public ReadOnlyMemory<byte> Request { get; init; }

    /// <summary>Delay between two events at their source, milliseconds: gaps are compared with it.</summary>
    public double DelayMs { get; init; }

    /// <summary>Open loop: every client is connected before the clock runs, for measurements that exclude
    /// connecting: goodput. Two descriptors per client until it is handed over.</summary>
    public bool ConnectFirst { get; init; }

    /// <summary>
    /// Reads an answer after its end, not as it comes: it must fit into the socket's buffer. That leaves the
    /// cores to the daemon, for measurements that time no event: goodput.
    /// </summary>
    public bool ReadAtEnd { get; init; }

    /// <summary>Who reads the answers.</summary>
    public ReaderKind Readers { get; init; }

    public bool IsClosedLoop => Concurrency > 0;

    /// <summary>Streams that can be open at once.</summary>
    public int Slots => IsClosedLoop ? Concurrency : Streams;

    /// <summary>Most descriptors that the clients hold.</summary>
    public int Descriptors => ConnectsFirst ? 2 * Slots : Slots;

    /// <summary>The closed loop makes its clients one by one.</summary>
    public bool ConnectsFirst => ConnectFirst && !IsClosedLoop;
}
