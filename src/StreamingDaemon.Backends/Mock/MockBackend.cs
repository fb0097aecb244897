using System.Buffers;

namespace StreamingDaemon.Backends.Mock;

/// <summary>
/// Answers without an LLM: 18 texts in the scheme that this family of daemons shares, so that their load
/// generators and tests can rely on them.
/// </summary>
internal sealed class MockBackend(MockOptions options, IWriteBatch? batch = null)
    : IStreamingBackend, IDisposable
{
    private readonly DelayWheel _wheel = new(Shortest(options.DelayMs, options.LatencyMs), batch);

    public string Name => "mock";

    public string DefaultModel => "";

    public bool RequiresPrompt => false;

    /// <remarks>
    /// The response counts as started before <see cref="MockOptions.LatencyMs"/>: the latency simulates a
    /// thinking model, and a model thinks after it has accepted the request.
    /// </remarks>
    public async Task<BackendResult> StreamAsync(
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
