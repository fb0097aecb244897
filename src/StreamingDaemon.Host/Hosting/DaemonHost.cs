using System.Net;
using Microsoft.AspNetCore.Hosting;
using Prometheus;
using Serilog;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Endpoints;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>Puts the daemon together: a generic host with the loop, and Kestrel where a metrics port is
/// set.</summary>
internal static class DaemonHost
{
    public static IHost Build(DaemonOptions options)
    {
        if (options.Monitoring.MetricsPort == 0)
        {
            // Nothing from the environment or from files: the options are all there is.
            var bare = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(
                new HostApplicationBuilderSettings { DisableDefaults = true });
            AddDaemon(bare.Services, options);
            var host = bare.Build();
            Connect(host.Services);
            return host;
        }

        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        AddDaemon(builder.Services, options);
        builder.Services.AddRoutingCore();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(kestrel =>
        {
            kestrel.AddServerHeader = false;
            kestrel.Listen(IPAddress.Parse(options.Monitoring.MetricsAddress),
                options.Monitoring.MetricsPort);
        });
        var application = builder.Build();
        Connect(application.Services);
        application.UseRouting();
        application.MapMetricsEndpoint();
        application.MapHealthEndpoints();
        return application;
    }

    private static void AddDaemon(IServiceCollection services, DaemonOptions options)
    {
        services.AddSerilog(Logging.Create(options.Logging), dispose: true);
        services.AddSingleton(options);
        services.AddMockBackend(options.Mock);
        if (options.OpenAI is { } openAI)
            services.AddOpenAIBackend(openAI);
        services.AddSingleton(provider =>
            new BackendRegistry(provider.GetServices<IStreamingBackend>(), options.Backend.Name));

        services.AddSingleton<DrainSignal>();
        services.AddSingleton<StreamWatchdog>();
        services.AddSingleton<WorkerSlots>();
        services.AddSingleton<StreamMetrics>();
        services.AddSingleton<AccessLog>();
        services.AddSingleton<IHandoffHandler, HandoffDispatcher>();
        services.AddSingleton(provider =>
            new HandoffServer(ServerOptionsOf(options), provider.GetRequiredService<IHandoffHandler>()));
        services.AddSingleton<HandoffLoopService>();
        services.AddHostedService(provider => provider.GetRequiredService<HandoffLoopService>());
        services.AddSingleton<IHostLifetime, DaemonLifetime>();
    }

    private static void Connect(IServiceProvider services)
    {
        var metrics = services.GetRequiredService<StreamMetrics>();
        metrics.Observe(services.GetRequiredService<HandoffServer>().Statistics,
            services.GetRequiredService<StreamWatchdog>());
        DotNetStats.Register(metrics.Registry);
    }

    public static HandoffServerOptions ServerOptionsOf(DaemonOptions options) => new()
    {
        SocketPath = options.Server.Socket,
        SocketMode = options.Server.SocketMode,
        UseStreamSocket = options.Server.SocketType == SocketKind.Stream,
        Backlog = options.Server.Backlog,
        MaxConnections = options.Server.MaxConnections,
        // HTTP/1.1 has one stream a connection.
        DescriptorsPerConnection = options is { Backend.Name: "openai", OpenAI.Http2Enabled: false } ? 2 : 1,
        AllowedUids = options.Server.AllowedUids,
        AllowedGids = options.Server.AllowedGids,
        KeepHalfClosed = options.Streaming.HalfClose == HalfClose.Keep,
        MaxHandoffBytes = options.Streaming.MaxHandoffBytes,
        MaxPendingBytes = options.Streaming.MaxPendingBytes,
        ChannelCapacity = options.Streaming.ChannelCapacity,
        MaxDrainBytes = options.Streaming.MaxDrainBytes,
        HandoffTimeoutMs = options.Timeouts.HandoffTimeoutMs,
        WriteTimeoutMs = options.Timeouts.WriteTimeoutMs,
        DrainTimeoutMs = options.Timeouts.DrainTimeoutMs,
        KeepAlive = ServerSentEvents.KeepAlive,
        KeepAliveIntervalMs = options.Streaming.KeepAliveS * 1000,
        RingEntries = options.Performance.RingEntries,
        SqPoll = options.Performance.SqPoll,
    };
}
