using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>The options of the built-in backends, for tests that set them.</summary>
internal static class BuiltInOptions
{
    extension(DaemonOptions options)
    {
        public MockOptions Mock => (MockOptions)options.Backends.Of("mock").Options;

        /// <summary>Null if the backend does not exist, because it has no key.</summary>
        public OpenAIOptions? OpenAI => options.Backends.Of("openai") is { IsConfigured: true } openAI
            ? (OpenAIOptions)openAI.Options
            : null;
    }
}
