using System.Buffers;
using System.Text;

namespace StreamingDaemon.Backends.Mock;

/// <summary>
/// Answers without an LLM: 18 texts in the scheme that this family of daemons shares, so that their load
/// generators and tests can rely on them.
/// </summary>
internal sealed class MockBackend(MockOptions options, IWriteBatch? batch = null)
    : IStreamingBackend, IDisposable
{
    private static readonly ReadOnlyMemory<byte> s_finish = "stop"u8.ToArray();

    /// <summary>A text counts as a token.</summary>
    private static readonly ReadOnlyMemory<byte> s_usage = Encoding.UTF8.GetBytes(
        $"{{\"prompt_tokens\":0,\"completion_tokens\":{MockScript.EventCount}}}");

    private readonly DelayWheel _wheel = new(Shortest(options.DelayMs, options.LatencyMs), batch);

    public string Name => "mock";

    public string DefaultModel => "";

    public bool RequiresPrompt => false;

    public bool BeginsAtOnce => true;

    /// <remarks>
    /// The response counts as started before <see cref="MockOptions.LatencyMs"/>: the latency simulates a
    /// thinking model, and a model thinks after it has accepted the request.
    /// </remarks>
    public Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken) =>
        request.Wanted == DeltaKinds.Text
            ? StreamTextAsync(request, sink, cancellationToken)
            : StreamAllAsync(request, sink, cancellationToken);

    private async Task<BackendResult> StreamTextAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        sink.OnResponseStarted();
        using var delay = _wheel.CreateDelay(cancellationToken);
        for (var n = 0; n < MockScript.EventCount; n++)
        {
            await delay.WaitAsync(n == 0 ? options.LatencyMs : options.DelayMs);
            sink.OnUpstreamActivity();
            // No local lives across an avoidable await: each is in the object that a stream holds.
            if (n == MockScript.DynamicCount)
                request.ReleasePrompt();
            await (n < MockScript.DynamicCount
                ? WriteDynamicAsync(n, request, sink, cancellationToken)
                : sink.WriteAsync(new StreamDelta(MockScript.StaticText(n)), cancellationToken));
        }

        return BackendResult.Completed;
    }

    /// <summary>Streams the texts, and then what else is wanted.</summary>
    private async Task<BackendResult> StreamAllAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        // Asked first: the parameters are released with the prompt.
        var withUsage = (request.Wanted & (DeltaKinds.Usage | DeltaKinds.Chunk)) switch
        {
            DeltaKinds.None => false,
            DeltaKinds.Chunk => request.AsksForUsage(),
            _ => true,
        };
        var result = await StreamTextAsync(request, sink, cancellationToken);
        if ((request.Wanted & (DeltaKinds.FinishReason | DeltaKinds.Chunk)) != 0)
            await sink.WriteAsync(new StreamDelta(s_finish, DeltaKinds.FinishReason), cancellationToken);
        if (withUsage)
            await sink.WriteAsync(new StreamDelta(s_usage, DeltaKinds.Usage), cancellationToken);
        return result;
    }

    /// <summary>Makes the pauses' thread before the first stream.</summary>
    public void Prepare() => _wheel.Prepare();

    public void Dispose() => _wheel.Dispose();

    /// <summary>The shorter of two pauses; 0 is none.</summary>
    private static int Shortest(int one, int other) =>
        one == 0 || other == 0 ? Math.Max(one, other) : Math.Min(one, other);

    private static async ValueTask WriteDynamicAsync(
        int n, StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var buffer = ArrayPool<byte>.Shared.Rent(MockScript.MaxDynamicBytes);
        try
        {
            var length = MockScript.WriteDynamic(n, request, buffer);
            await sink.WriteAsync(new StreamDelta(buffer.AsMemory(0, length)), cancellationToken);
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
        }
    }
}
