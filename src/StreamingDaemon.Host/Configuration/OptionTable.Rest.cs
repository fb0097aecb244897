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
            Description = "Streams that one user_id may start in a window; more get a 429",
            Cost = "Takes a few hundred bytes for each user of the last window. Handoffs without a user_id "
                + "count as one user.",
        },
        new OptionSpec<int>(
            new IntType(1, 86_400),
            o => o.RateLimit.WindowS, (o, v) => o with { RateLimit = o.RateLimit with { WindowS = v } })
        {
            Key = "rate_limit:window_s",
            Reloadable = true,
            Description = "Length of the window, in seconds",
            Cost = "The window slides in steps of a sixth. After a burst, a longer window makes the user "
                + "wait longer.",
        },
        new OptionSpec<int>(
            new IntType(0, 1_000_000, zero: "unlimited"),
            o => o.RateLimit.ConcurrentStreams,
            (o, v) => o with { RateLimit = o.RateLimit with { ConcurrentStreams = v } })
        {
            Key = "rate_limit:concurrent_streams",
            Reloadable = true,
            Description = "Streams that one user_id may have at once; more get a 429",
            Cost = "Each browser tab counts. A stream counts until its end is sent.",
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
            Description = "Limit the backend calls that run at once to pool_size",
            Cost = "Off, each stream calls its backend at once. On, streams above the limit wait their turn.",
        },
        new OptionSpec<int>(
            new IntType(1, 64),
            o => o.ThreadPool.PoolSize, (o, v) => o with { ThreadPool = o.ThreadPool with { PoolSize = v } })
        {
            Key = "thread_pool:pool_size",
            Cli = new("--pool-size", "-p", "N"),
            FlatNames = ["pool_size"],
            Description = "Most backend calls at once, if the thread pool is enabled",
            Cost = "Protects an upstream that can serve only a few calls at a time.",
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
            Cost = "Saves one system call for each turn of the loop and keeps one core busy. Only for "
                + "machines with cores to spare.",
        },
        new OptionSpec<int>(
            new IntType(0, PerformanceOptions.MostRings, zero: "one a core"),
            o => o.Performance.Rings,
            (o, v) => o with { Performance = o.Performance with { Rings = v } })
        {
            Key = "performance:rings",
            Cli = new("--rings", Value: "N"),
            Description = "Number of io_uring loops, each with its own thread; clients are spread over them",
            Cost = "One loop is enough for most sites. Add loops if its thread fills a core.",
        },
        new OptionSpec<int>(
            new IntType(64, 32_768, powerOfTwo: true),
            o => o.Performance.RingEntries,
            (o, v) => o with { Performance = o.Performance with { RingEntries = v } })
        {
            Key = "performance:ring_entries",
            Description = "Entries of each submission queue",
            Cost = "The completion queue has four times as many. Both are locked memory.",
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
            Cost = "For load tests. Without the access log, nobody can tell how one stream ended.",
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
            Cost = "At 0, no HTTP server is started.",
        },
        new OptionSpec<string>(
            new AddressType(),
            o => o.Monitoring.MetricsAddress,
            (o, v) => o with { Monitoring = o.Monitoring with { MetricsAddress = v } })
        {
            Key = "monitoring:metrics_address",
            Description = "Address that the metrics port listens on",
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
            Description = "Lowest level that is logged",
            Cost = "At information, each stream is one line.",
        },
        new OptionSpec<string>(
            new ChoiceType<string>(("auto", "auto"), ("text", "text"), ("json", "json")),
            o => o.Logging.Format, (o, v) => o with { Logging = o.Logging with { Format = v } })
        {
            Key = "logging:format",
            Description = "Format of the log",
            Cost = "auto is text on a terminal and JSON otherwise.",
        },
    ];
}
