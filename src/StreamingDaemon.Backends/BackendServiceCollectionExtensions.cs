using Microsoft.Extensions.DependencyInjection;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Backends.OpenAI;

namespace StreamingDaemon.Backends;

/// <summary>Adds backends to the composition root: each is a singleton that the container
/// disposes.</summary>
public static class BackendServiceCollectionExtensions
{
    /// <summary>Adds "mock", which answers without an LLM; in bursts, where there is an
    /// <see cref="IWriteBatch"/>.</summary>
    /// <param name="services">Gains the backend.</param>
    /// <param name="options">Its options.</param>
    /// <param name="isPrepared">Its thread is made before the first stream.</param>
    public static IServiceCollection AddMockBackend(
        this IServiceCollection services, MockOptions options, bool isPrepared = false)
    {
        ArgumentNullException.ThrowIfNull(options);
        return services.AddSingleton<IStreamingBackend>(services =>
        {
            var mock = new MockBackend(options, services.GetService<IWriteBatch>());
            if (isPrepared)
                mock.Prepare();
            return mock;
        });
    }

    /// <summary>Adds "openai": any server that speaks <c>/chat/completions</c>.</summary>
    /// <exception cref="ArgumentException">When first resolved: <see cref="OpenAIOptions.ApiKey"/> is
    /// blank.</exception>
    public static IServiceCollection AddOpenAIBackend(
        this IServiceCollection services, OpenAIOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        return services.AddSingleton<IStreamingBackend>(services =>
            new OpenAIBackend(options, services.GetService<IWriteBatch>()));
    }
}
