using Microsoft.AspNetCore.Hosting;
using Prometheus;
using Serilog;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Answers;
using StreamingDaemon.Host.Answers.Shared;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Delivery;
using StreamingDaemon.Host.Endpoints;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Limits;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Hosting;

/// <summary>Builds the daemon: a generic host, with Kestrel if a metrics port is set.</summary>
internal static class DaemonHost
{
    /// <summary>How long Kestrel may finish its requests once the streams have ended. A scraper that sent
    /// half a request must not delay the stop.</summary>
    private static readonly TimeSpan s_httpPatience = TimeSpan.FromSeconds(1);

    /// <param name="options">The options as read at the start.</param>
    /// <param name="reread">Reads the options again, on SIGHUP.</param>
    /// <param name="log">The log; the caller disposes it.</param>
    /// <param name="more">Adds backends to the built-in ones.</param>
    /// <exception cref="HandoffServerException">The service manager passed several sockets, and none has
    /// the daemon's name.</exception>
    public static IHost Build(DaemonOptions options, Func<DaemonOptions> reread, DaemonLog log,
        Action<IServiceCollection>? more = null)
    {
        if (options.Monitoring.MetricsPort == 0)
        {
            // The options hold all settings: the host must read none from the environment or from files.
            var bare = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(
                new HostApplicationBuilderSettings { DisableDefaults = true });
            AddDaemon(bare.Services, options, reread, log);
            more?.Invoke(bare.Services);
            var host = bare.Build();
            Connect(host.Services);
            return host;
        }

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        AddDaemon(builder.Services, options, reread, log);
        more?.Invoke(builder.Services);
        builder.Services.AddRoutingCore();
        builder.Services.AddSingleton<MetricsText>();
        // First: Kestrel adds its own transport only if none is registered.
        builder.Services.AddProbeGate();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            // Scrapers connect every 15 to 60 seconds and send a small request at once.
            kestrel.Limits.RequestHeadersTimeout = TimeSpan.FromSeconds(5);
            kestrel.Limits.KeepAliveTimeout = TimeSpan.FromSeconds(10);
            // No request here needs a body. If one is larger, Kestrel does not wait for the rest.
            kestrel.Limits.MaxRequestBodySize = 1024;
            kestrel.Listen(MetricsPort.EndPointOf(options.Monitoring));
        });
        var application = builder.Build();
        Connect(application.Services);
        application.UseProbeGate();
        application.UseRouting();
        application.MapMetricsEndpoint();
        application.MapHealthEndpoints();
        return application;
    }

    private static void AddDaemon(
        IServiceCollection services, DaemonOptions options, Func<DaemonOptions> reread, DaemonLog log)
    {
        var passedSocket = SocketActivation.Take();
        services.AddSerilog(log.Logger);
        services.AddSingleton(log);
        services.Configure<HostOptions>(host => host.ShutdownTimeout = s_httpPatience);
        services.AddSingleton(options);
        services.AddSingleton(new ReloadableOptions(options));
        services.AddSingleton(reread);
        services.AddSingleton<OptionsReloader>();
        services.AddSingleton<ServiceNotifier>();
        services.AddSingleton<IWriteBatch, LoopWriteBatch>();
        foreach (var (kind, settings) in options.Backends.Configured)
        {
            services.AddBackend(
                kind, settings, new BackendContext
                {
                    IsDefault = kind.Name == options.Backend.Name,
                    ReadSecretFile = SecretFile.ReadAgain,
                });
        }

        services.AddSingleton(provider =>
            new BackendRegistry(provider.GetServices<IStreamingBackend>(), options.Backend.Name));

        services.AddSingleton(provider => MemoryLimit.BudgetFor(
            options.Server.MaxMemory, provider.GetServices<IStreamingBackend>()));
        services.AddSingleton<DrainSignal>();
        services.AddSingleton<ThreadPoolTuner>();
        services.AddSingleton<StreamWatchdog>();
        services.AddSingleton<UserLimits>();
        services.AddSingleton<BackendConcurrencyLimiter>();
        services.AddSingleton<StreamMetrics>();
        services.AddSingleton<ReloadMetrics>();
        services.AddSingleton<LogSampler>();
        services.AddSingleton<AccessLog>();
        services.AddSingleton<HandoffLog>();
        services.AddSingleton<StreamReporter>();
        services.AddSingleton<CallRunner>();
        services.AddSingleton<AnswerReports>();
        services.AddSingleton<AnswerStore>();
        if (options.Answers.Store == AnswerStoreKind.Redis)
            services.AddSingleton<ISharedAnswers, RedisAnswers>();
        services.AddSingleton<IKeptAnswers, KeptAnswers>();
        services.AddSingleton<AnswersLifetime>();
        if (options.Delivery.Url is not null)
        {
            services.AddSingleton<DeliveryLog>();
            services.AddSingleton<DeliveryService>();
            services.AddSingleton<AnswerDelivery>();
            // Before the loop: it stops after it.
            services.AddHostedService(provider => provider.GetRequiredService<DeliveryService>());
        }

        services.AddSingleton<IHandoffHandler, HandoffDispatcher>();
        services.AddSingleton(provider =>
            new HandoffServer(ServerOptionsOf(options) with
            {
                PassedSocket = passedSocket,
                Memory = provider.GetRequiredService<MemoryBudget>(),
            },
                provider.GetRequiredService<IHandoffHandler>()));
        services.AddSingleton<LoopWatchdog>();
        services.AddSingleton<HandoffLoopService>();
        services.AddHostedService(provider => provider.GetRequiredService<HandoffLoopService>());
        services.AddHostedService<MemoryTrimmer>();
        services.AddHostedService<CertificateWatch>();
        services.AddSingleton<IHostLifetime, DaemonLifetime>();
    }

    private static void Connect(IServiceProvider services)
    {
        var metrics = services.GetRequiredService<StreamMetrics>();
        var (watchdog, drain) =
            (services.GetRequiredService<StreamWatchdog>(), services.GetRequiredService<DrainSignal>());
        var server = services.GetRequiredService<HandoffServer>();
        metrics.Observe(server.Statistics, services.GetRequiredService<MemoryBudget>(), watchdog.CountStates,
            () => drain.IsDraining);
        DotNetStats.Register(metrics.Registry);
        new ProcessMetrics(metrics.Registry).Observe(
            () => server.Budget?.Limit, () => services.GetRequiredService<DaemonLog>().LostLines);
        ObserveCollector(metrics.Registry);
        ObserveLog(services);
        var logger = services.GetRequiredService<ILogger<DaemonLog>>();
        logger.Warn(services.GetRequiredService<ReloadableOptions>().Current.Backends);
        services.GetRequiredService<ReloadableOptions>().OnChange(options =>
        {
            services.GetRequiredService<DaemonLog>().SetLevel(options.Logging);
            services.GetRequiredService<HandoffServer>().SetTimeouts(options.Timeouts.HandoffTimeoutMs,
                options.Timeouts.WriteTimeoutMs, options.Timeouts.DrainTimeoutMs);
            services.GetRequiredService<UserLimits>().Apply(options.RateLimit);
            var backends = services.GetRequiredService<BackendRegistry>();
            foreach (var (kind, settings) in options.Backends.Configured)
            {
                if (backends.TryGet(kind.Name, out var backend))
                    backend.Apply(settings);
            }

            logger.Warn(options.Backends);
        });
    }

    private static void Warn(this ILogger<DaemonLog> logger, BackendSettings backends)
    {
        foreach (var (kind, settings) in backends.Configured)
        {
            if (kind.Warn(settings) is { } problem)
                logger.BackendWarning(kind.Name, problem);
        }
    }

    private static void ObserveLog(IServiceProvider services)
    {
        var logger = services.GetRequiredService<ILogger<DaemonLog>>();
        if (services.GetRequiredService<DaemonLog>().Writer is { } writer)
            writer.Lost = logger.LinesLost;
    }

    private static void ObserveCollector(CollectorRegistry registry)
    {
        var factory = Metrics.WithCustomRegistry(registry);
        var allocated = factory.CreateCounter("dotnet_gc_allocated_bytes_total",
            "Bytes allocated on the managed heap since the start.");
        var paused = factory.CreateCounter("dotnet_gc_pause_seconds_total",
            "Time for which garbage collections paused all threads.");
        registry.AddBeforeCollectCallback(() =>
        {
            allocated.IncTo(GC.GetTotalAllocatedBytes());
            paused.IncTo(GC.GetTotalPauseDuration().TotalSeconds);
        });
    }

    public static HandoffServerOptions ServerOptionsOf(DaemonOptions options) => new()
    {
        SocketPath = options.Server.Socket,
        SocketMode = options.Server.SocketMode,
        SocketGroup = options.Server.SocketGroup,
        Takeover = options.Server.Takeover,
        UseStreamSocket = options.Server.SocketType == SocketKind.Stream,
        Backlog = options.Server.Backlog,
        MaxConnections = options.Server.MaxConnections,
        // Any handoff may ask for the backend that takes most.
        DescriptorsPerConnection = 1 + options.Backends.Configured
            .Max(backend => backend.Kind.DescriptorsPerStream(backend.Options)),
        AllowedUids = options.Server.AllowedUids,
        AllowedGids = options.Server.AllowedGids,
        KeepHalfClosed = options.Streaming.HalfClose == HalfClose.Keep,
        MaxHandoffBytes = options.Streaming.MaxHandoffBytes,
        MaxPendingBytes = options.Streaming.MaxPendingBytes,
        CoalesceMs = options.Streaming.CoalesceMs,
        MaxLingerBytes = options.Streaming.MaxDrainBytes,
        HandoffTimeoutMs = options.Timeouts.HandoffTimeoutMs,
        WriteTimeoutMs = options.Timeouts.WriteTimeoutMs,
        LingerTimeoutMs = options.Timeouts.DrainTimeoutMs,
        KeepAlive = ServerSentEvents.KeepAlive,
        KeepAliveIntervalMs = options.Streaming.KeepAliveS * 1000,
        Rings = options.Performance.Rings == 0
            ? Math.Min(Environment.ProcessorCount, PerformanceOptions.MostRings)
            : options.Performance.Rings,
        RingEntries = options.Performance.RingEntries,
        SqPoll = options.Performance.SqPoll,
    };
}
