using System.ClientModel.Primitives;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Puts the key of the moment into a request: as a bearer token, or in the header that Azure
/// reads. Without a key it adds nothing.</summary>
internal sealed class KeyPolicy(UpstreamKey key, bool isBearer) : AuthenticationPolicy
{
    /// <summary>A key and its header's value: kept, because it is the same for most requests.</summary>
    private sealed record Header(string Key, string Value);

    private volatile Header? _header;

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
        var current = key.Current;
        if (current.Length == 0)
            return;
        var header = _header;
        if (header?.Key != current)
            _header = header = new Header(current, isBearer ? $"Bearer {current}" : current);
        message.Request.Headers.Set(isBearer ? "Authorization" : "api-key", header!.Value);
    }
}
