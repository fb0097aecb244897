using Microsoft.AspNetCore.Connections;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>Connects Kestrel and the gate.</summary>
internal static class ProbeGateExtensions
{
    public static void AddProbeGate(this IServiceCollection services) =>
        services.AddSingleton<IConnectionListenerFactory, ProbeGateTransport>();

    /// <summary>Tells each connection when a request begins. Must be the first middleware.</summary>
    public static void UseProbeGate(this IApplicationBuilder application) =>
        application.Use(next => async context =>
        {
            // If a client sends many requests at once, let other connections run between them.
            if (context.Features.Get<ProbeConnection>()?.BeginRequest(context.Response) == false)
                await Task.Yield();
            await next(context);
        });
}
