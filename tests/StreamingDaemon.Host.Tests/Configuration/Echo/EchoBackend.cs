using System.Text;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Tests.Configuration.Echo;

/// <summary>Repeats the prompt. The whole of a backend.</summary>
internal sealed class EchoBackend(EchoOptions options) : IStreamingBackend
{
    public string Name => "echo";

    public string DefaultModel => "";

    public bool RequiresPrompt => true;

    public async Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var line = Encoding.UTF8.GetBytes($"{options.Prefix}: {request.Prompt}\n");
        request.ReleasePrompt(line.Length);
        sink.OnResponseStarted();
        for (var i = 0; i < options.Times; i++)
        {
            sink.OnUpstreamActivity();
            await sink.WriteAsync(new StreamDelta(line), cancellationToken);
        }

        return BackendResult.Completed;
    }
}
