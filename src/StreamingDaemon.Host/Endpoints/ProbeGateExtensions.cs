using Microsoft.AspNetCore.Connections;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>How Kestrel and the gate are told of each other.</summary>
internal static class ProbeGateExtensions
{
    public static void AddProbeGate(this IServiceCollection services) =>
        services.AddSingleton<IConnectionListenerFactory, ProbeGateTransport>();

    /// <summary>First of all: tells the connection of its requests.</summary>
    public static void UseProbeGate(this IApplicationBuilder application) =>
        application.Use(next => async context =>
        {
            // Who sends many requests at once lets the others have their turns between them.
            if (context.Features.Get<ProbeConnection>()?.BeginRequest(context.Response) == false)
                await Task.Yield();
            await next(context);
        });
}
