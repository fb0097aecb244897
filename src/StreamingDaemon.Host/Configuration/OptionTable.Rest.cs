namespace StreamingDaemon.Host.Configuration;

/// <summary>Options of the machine and of the operator.</summary>
internal sealed partial class OptionTable
{
    private static OptionSpec[] RateLimit =>
    [
        new OptionSpec<int>(
            new IntType(0, 1_000_000, zero: "unlimited"),
            o => o.RateLimit.Requests, (o, v) => o with { RateLimit = o.RateLimit with { Requests = v } })
        {
            Key = "rate_limit:requests",
            Reloadable = true,
            Description = "Streams that one user_id may begin in a window; further ones get a 429",
            Cost = "A few hundred bytes for each user of the last window. "
                + "Handoffs without user_id count as one user.",
        },
        new OptionSpec<int>(
            new IntType(1, 86_400),
            o => o.RateLimit.WindowS, (o, v) => o with { RateLimit = o.RateLimit with { WindowS = v } })
        {
            Key = "rate_limit:window_s",
            Reloadable = true,
            Description = "Length of the window, seconds",
            Cost = "It slides by a sixth of itself: a longer one forgives a burst later.",
        },
        new OptionSpec<int>(
            new IntType(0, 1_000_000, zero: "unlimited"),
            o => o.RateLimit.ConcurrentStreams,
            (o, v) => o with { RateLimit = o.RateLimit with { ConcurrentStreams = v } })
        {
            Key = "rate_limit:concurrent_streams",
            Reloadable = true,
            Description = "Streams of one user_id that run at once; further ones get a 429",
            Cost = "Tabs count: a user with the chat open in three of them has three streams. "
                + "A stream counts until its end is sent.",
        },
    ];

    private static OptionSpec[] ThreadPool =>
    [
        new OptionSpec<bool>(
            new BoolType(),
            o => o.ThreadPool.Enabled, (o, v) => o with { ThreadPool = o.ThreadPool with { Enabled = v } })
        {
            Key = "thread_pool:enabled",
            Cli = new("--thread-pool", "-t"),
            FlatNames = ["thread_pool"],
            Description = "Limit how many backend calls run at once to the pool size",
            Cost = "Off, every stream calls its backend at once; on, further ones wait for their turn.",
        },
        new OptionSpec<int>(
            new IntType(1, 64),
            o => o.ThreadPool.PoolSize, (o, v) => o with { ThreadPool = o.ThreadPool with { PoolSize = v } })
        {
            Key = "thread_pool:pool_size",
            Cli = new("--pool-size", "-p", "N"),
            FlatNames = ["pool_size"],
            Description = "Backend calls at once, if the thread pool is on",
            Cost = "Protects an upstream that takes few calls at a time.",
        },
    ];

    private static OptionSpec[] Performance =>
    [
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Performance.SqPoll, (o, v) => o with { Performance = o.Performance with { SqPoll = v } })
        {
            Key = "performance:sqpoll",
            Cli = new("--sqpoll", "-q"),
            FlatNames = ["sqpoll"],
            Description = "Let a kernel thread poll the submission queue",
            Cost = "Burns a core to save a system call a turn; wants a machine with cores to spare.",
        },
        new OptionSpec<int>(
            new IntType(0, PerformanceOptions.MostRings, zero: "one a core"),
            o => o.Performance.Rings,
            (o, v) => o with { Performance = o.Performance with { Rings = v } })
        {
            Key = "performance:rings",
            Cli = new("--rings", Value: "N"),
            Description = "io_uring loops, each on a thread of its own; clients are spread over them",
            Cost = "One carries what most sites have; more help if its thread fills a core.",
        },
        new OptionSpec<int>(
            new IntType(64, 32_768, powerOfTwo: true),
            o => o.Performance.RingEntries,
            (o, v) => o with { Performance = o.Performance with { RingEntries = v } })
        {
            Key = "performance:ring_entries",
            Description = "Entries of each submission queue",
            Cost = "The completion queue is four times this; both are locked memory.",
        },
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Performance.Benchmark,
            (o, v) => o with { Performance = o.Performance with { Benchmark = v } })
        {
            Key = "performance:benchmark",
            Cli = new("--benchmark", "-b"),
            FlatNames = ["benchmark"],
            Description = "Print a summary at exit and log no streams",
            Cost = "For load tests: without the log nobody can tell what became of one stream.",
        },
    ];

    private static OptionSpec[] Monitoring =>
    [
        new OptionSpec<int>(
            new IntType(0, 65_535, zero: "off"),
            o => o.Monitoring.MetricsPort,
            (o, v) => o with { Monitoring = o.Monitoring with { MetricsPort = v } })
        {
            Key = "monitoring:metrics_port",
            Cli = new("--metrics", "-M", "PORT"),
            FlatNames = ["metrics_port"],
            Description = "Port of /metrics and /health",
            Cost = "Off, no HTTP server is started at all.",
        },
        new OptionSpec<string>(
            new AddressType(),
            o => o.Monitoring.MetricsAddress,
            (o, v) => o with { Monitoring = o.Monitoring with { MetricsAddress = v } })
        {
            Key = "monitoring:metrics_address",
            Description = "Address that the metrics port binds to",
            Cost = "Metrics have no password. A scraper outside this host or pod needs 0.0.0.0 or ::.",
        },
    ];

    private static OptionSpec[] Logging =>
    [
        new OptionSpec<string>(
            new ChoiceType<string>(
                ("debug", "debug"), ("information", "information"),
                ("warning", "warning"), ("error", "error")),
            o => o.Logging.Level, (o, v) => o with { Logging = o.Logging with { Level = v } })
        {
            Key = "logging:level",
            Reloadable = true,
            Description = "Least important event that is logged",
            Cost = "information is one line a stream.",
        },
        new OptionSpec<string>(
            new ChoiceType<string>(("auto", "auto"), ("text", "text"), ("json", "json")),
            o => o.Logging.Format, (o, v) => o with { Logging = o.Logging with { Format = v } })
        {
            Key = "logging:format",
            Description = "Form of the log",
            Cost = "auto is text on a terminal and JSON otherwise.",
        },
    ];
}
