using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Every option of the daemon, read once at start, validated. One record per TOML section.
/// </summary>
internal sealed record DaemonOptions
{
    public ServerOptions Server { get; init; } = new();
    public BackendOptions Backend { get; init; } = new();
    public StreamingOptions Streaming { get; init; } = new();
    public TimeoutOptions Timeouts { get; init; } = new();
    public AnswerOptions Answers { get; init; } = new();
    public RateLimitOptions RateLimit { get; init; } = new();
    public DeliveryOptions Delivery { get; init; } = new();
    public ThreadPoolOptions ThreadPool { get; init; } = new();
    public PerformanceOptions Performance { get; init; } = new();
    public MonitoringOptions Monitoring { get; init; } = new();
    public LoggingOptions Logging { get; init; } = new();

    /// <summary>One section for each kind of backend.</summary>
    public BackendSettings Backends { get; init; } = BackendSettings.DefaultsOf(BackendDescriptors.BuiltIn);

    /// <summary>The TOML file that was read, or null.</summary>
    public string? ConfigFile { get; init; }

    /// <summary>The option that made its backend the default, because nothing names one; else null.</summary>
    public string? BackendChosenBy { get; init; }

    /// <summary>
    /// Hides the values: one of them is the API key, and printable text gets logged.
    /// </summary>
    public override string ToString() => nameof(DaemonOptions);
}

/// <summary><c>[server]</c></summary>
internal sealed record ServerOptions
{
    public string Socket { get; init; } = "/var/run/streaming-daemon.sock";

    /// <summary>Permission bits of the socket, 0 to 0o777.</summary>
    public int SocketMode { get; init; } = Convert.ToInt32("660", 8);

    /// <summary>Name or number; if empty, the kernel decides.</summary>
    public string SocketGroup { get; init; } = "";

    public SocketKind SocketType { get; init; } = SocketKind.SeqPacket;

    public bool Takeover { get; init; }

    /// <summary>1 to 1000000.</summary>
    public int MaxConnections { get; init; } = 10_000;

    /// <summary>Bytes that the process may take in total; 0 uses the limit of its container, its unit or the
    /// machine.</summary>
    public long MaxMemory { get; init; }

    /// <summary>Passed to listen(2); the kernel caps it at net.core.somaxconn.</summary>
    public int Backlog { get; init; } = 65_535;

    /// <summary>Users who may hand over. If both lists are empty, everybody who can connect may.</summary>
    public IReadOnlyList<int> AllowedUids { get; init; } = [];

    /// <summary>Groups whose members may hand over.</summary>
    public IReadOnlyList<int> AllowedGids { get; init; } = [];
}

/// <summary>A client that shut down its sending side: <c>"gone"</c> or <c>"keep"</c>.</summary>
internal enum HalfClose
{
    Gone,
    Keep,
}

/// <summary>What the listener speaks: <c>"seqpacket"</c> or <c>"stream"</c>.</summary>
internal enum SocketKind
{
    SeqPacket,
    Stream,
}

/// <summary><c>[backend]</c></summary>
internal sealed record BackendOptions
{
    /// <summary>The backend for requests that name none.</summary>
    public string Name { get; init; } = "mock";
}

/// <summary><c>[streaming]</c></summary>
internal sealed record StreamingOptions
{
    /// <summary>
    /// Longest wait for the answer's first text before the 200 head is sent, ms; 0 sends it at once.
    /// </summary>
    public int HeadWaitMs { get; init; } = 1_000;

    /// <summary>Smallest allowed limit of pending bytes. A head with all accepted response headers is posted
    /// without waiting, and must fit.</summary>
    public const int LeastPendingBytes = 32 * 1024;

    /// <summary>Bytes of one client that the kernel has not taken yet; above this the producer
    /// waits.</summary>
    public int MaxPendingBytes { get; init; } = 256 * 1024;

    /// <summary>Milliseconds. Tokens that come sooner than this after the last send wait at most this long
    /// and are sent together; 0 sends each at once.</summary>
    public int CoalesceMs { get; init; }

    /// <summary>Largest handoff accepted, bytes; a larger one is 413. As PHP's post_max_size by
    /// default.</summary>
    public int MaxHandoffBytes { get; init; } = 8 * 1024 * 1024;

    /// <summary>
    /// Bytes of a client's unread request that are discarded at the end of a stream; above this it is closed
    /// anyway.
    /// </summary>
    public int MaxDrainBytes { get; init; } = 16 * 1024 * 1024;

    /// <summary>Longest line accepted from the upstream, bytes.</summary>
    public int MaxEventBytes { get; init; } = 1 << 20;

    /// <summary>Silence before a comment is sent, seconds; 0 is off.</summary>
    public int KeepAliveS { get; init; } = 15;

    public HalfClose HalfClose { get; init; } = HalfClose.Gone;

    /// <summary>Name of the format of answers to handoffs that name none.</summary>
    public string Format { get; init; } = StreamFormats.Default.Name;

    /// <summary>Events that format <c>text</c> has beside its text, if the handoff does not say.</summary>
    public DeltaKinds Events { get; init; }
}

/// <summary><c>[timeouts]</c></summary>
internal sealed record TimeoutOptions
{
    public int HandoffTimeoutMs { get; init; } = 5_000;

    /// <summary>1 to 300000.</summary>
    public int WriteTimeoutMs { get; init; } = 30_000;
    public int FirstTokenTimeoutMs { get; init; } = 60_000;
    public int IdleTimeoutMs { get; init; } = 60_000;

    /// <summary>Limit for a whole stream; 0 is unlimited.</summary>
    public int StreamTimeoutMs { get; init; } = 300_000;
    public int ConnectTimeoutMs { get; init; } = 10_000;

    /// <summary>Wait for a client to close after the stream's end was sent.</summary>
    public int DrainTimeoutMs { get; init; } = 2_000;

    /// <summary>1 to 3600.</summary>
    public int ShutdownTimeoutS { get; init; } = 120;
}

/// <summary><c>[answers]</c></summary>
internal sealed record AnswerOptions
{
    /// <summary>Whether an answer is kept if its handoff does not say.</summary>
    public bool Keep { get; init; }

    /// <summary>How long a kept answer's call goes on without a reader, seconds; 0 is to its end.</summary>
    public int OrphanS { get; init; } = 120;

    /// <summary>How long a kept answer can be read after its end, seconds.</summary>
    public int KeepS { get; init; } = 600;

    /// <summary>Longest answer that is kept, bytes of its events.</summary>
    public long MaxAnswerBytes { get; init; } = 1 << 20;

    /// <summary>All kept answers together, bytes.</summary>
    public long MaxBytes { get; init; } = 64 << 20;

    public AnswerStoreKind Store { get; init; }

    /// <summary>host:port</summary>
    public string Redis { get; init; } = "127.0.0.1:6379";

    public bool RedisTls { get; init; }

    /// <summary>Certificates that the one of Redis must lead to; null is those of the system.</summary>
    public string? RedisCaFile { get; init; }

    /// <summary>An ACL user of Redis.</summary>
    public string RedisUser { get; init; } = "default";

    public string? RedisPasswordFile { get; init; }
}

/// <summary>Where kept answers are: <c>"memory"</c> or <c>"redis"</c>.</summary>
internal enum AnswerStoreKind
{
    Memory,
    Redis,
}

/// <summary><c>[rate_limit]</c></summary>
internal sealed record RateLimitOptions
{
    /// <summary>Streams that one user may begin per window; 0 is unlimited.</summary>
    public int Requests { get; init; }

    /// <summary>1 to 86400.</summary>
    public int WindowS { get; init; } = 60;

    /// <summary>Concurrent streams of one user; 0 is unlimited.</summary>
    public int ConcurrentStreams { get; init; }
}

/// <summary><c>[thread_pool]</c></summary>
internal sealed record ThreadPoolOptions
{
    public bool Enabled { get; init; }

    /// <summary>Concurrent LLM calls, 1 to 64.</summary>
    public int PoolSize { get; init; } = 8;
}

/// <summary><c>[performance]</c></summary>
internal sealed record PerformanceOptions
{
    public const int MostRings = 64;

    public bool SqPoll { get; init; }

    /// <summary>Loops, each with a ring and a thread, 1 to 64; 0 is one per core.</summary>
    public int Rings { get; init; } = 1;

    /// <summary>Submission queue entries, a power of two, 64 to 32768.</summary>
    public int RingEntries { get; init; } = 4_096;
    public bool Benchmark { get; init; }
}

/// <summary><c>[monitoring]</c></summary>
internal sealed record MonitoringOptions
{
    /// <summary>0 is off.</summary>
    public int MetricsPort { get; init; }
    public string MetricsAddress { get; init; } = "127.0.0.1";
}

/// <summary><c>[logging]</c></summary>
internal sealed record LoggingOptions
{
    /// <summary><c>debug</c>, <c>information</c>, <c>warning</c> or <c>error</c>.</summary>
    public string Level { get; init; } = "information";

    /// <summary><c>auto</c> (text on a terminal, JSON otherwise), <c>text</c> or <c>json</c>.</summary>
    public string Format { get; init; } = "auto";
}
