using Microsoft.Extensions.DependencyInjection;

namespace StreamingDaemon.Backends;

/// <summary>Adds backends to the composition root: each is a singleton that the container
/// disposes.</summary>
public static class BackendServiceCollectionExtensions
{
    /// <summary>Adds a backend, which writes in batches if there is an <see cref="IWriteBatch"/>.</summary>
    /// <param name="services">Receives the backend.</param>
    /// <param name="descriptor">Its kind.</param>
    /// <param name="options">Its options.</param>
    /// <param name="context">What else the backend is given, except the batches.</param>
    /// <exception cref="ArgumentException">When first resolved: the options are not valid.</exception>
    public static IServiceCollection AddBackend(this IServiceCollection services,
        BackendDescriptor descriptor, object options, BackendContext context)
    {
        ArgumentNullException.ThrowIfNull(options);
        return services.AddSingleton(provider =>
            descriptor.Create(options, context with { WriteBatch = provider.GetService<IWriteBatch>() }));
    }
}
