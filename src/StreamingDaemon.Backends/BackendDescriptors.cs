using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Backends.OpenAI;

namespace StreamingDaemon.Backends;

/// <summary>The kinds of backend that this daemon has: one line each.</summary>
public static class BackendDescriptors
{
    /// <summary>In the order of the reference pages.</summary>
    public static IReadOnlyList<BackendDescriptor> BuiltIn { get; } =
    [
        new MockDescriptor(),
        new OpenAIDescriptor(),
    ];
}
