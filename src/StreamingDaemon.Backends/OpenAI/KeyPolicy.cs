using System.ClientModel.Primitives;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Puts the current key into a request of the SDK. Without a key it adds nothing.</summary>
/// <param name="key">The key.</param>
/// <param name="auth"><see cref="OpenAIOptions.Auth"/></param>
internal sealed class KeyPolicy(UpstreamKey key, string auth) : AuthenticationPolicy
{
    /// <summary>The header of a key: kept, because the key is the same for nearly every request.</summary>
    private sealed record Known(string Key, KeyHeader? Header);

    private volatile Known? _known;

    public override void Process(
        PipelineMessage message, IReadOnlyList<PipelinePolicy> pipeline, int currentIndex)
    {
        AddTo(message);
        ProcessNext(message, pipeline, currentIndex);
    }

    public override ValueTask ProcessAsync(
        PipelineMessage message, IReadOnlyList<PipelinePolicy> pipeline, int currentIndex)
    {
        AddTo(message);
        return ProcessNextAsync(message, pipeline, currentIndex);
    }

    private void AddTo(PipelineMessage message)
    {
        var (current, known) = (key.Current, _known);
        if (known?.Key != current)
            _known = known = new Known(current, KeyHeader.Of(auth, current));
        if (known!.Header is { } header)
            message.Request.Headers.Set(header.Name, header.Value);
    }
}
