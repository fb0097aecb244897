using System.Text;

namespace StreamingDaemon.Backends.Tests;

/// <summary>A sink that records, and can be told to be slow.</summary>
internal sealed class RecordingSink : IDeltaSink
{
    private readonly List<string> _texts = [];
    private readonly TaskCompletionSource _firstDelta =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly TaskCompletionSource _firstActivity =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Runs inside each write, before it completes.</summary>
    public Func<CancellationToken, ValueTask> OnWrite { get; init; } = _ => ValueTask.CompletedTask;

    public int Started { get; private set; }

    public List<UpstreamFault> Retries { get; } = [];

    public Task FirstActivity => _firstActivity.Task;

    public bool DeltaBeforeStart { get; private set; }

    public IReadOnlyList<string> Texts => _texts;

    /// <summary>All deltas, with their kinds.</summary>
    public List<(DeltaKinds Kind, string Text)> Deltas { get; } = [];

    public string Whole => string.Concat(_texts);

    public Task FirstDelta => _firstDelta.Task;

    public void OnResponseStarted() => Started++;

    public void OnRetry(UpstreamFault fault)
    {
        Assert.Equal(0, Started);
        Retries.Add(fault);
    }

    public void OnUpstreamActivity() => _firstActivity.TrySetResult();

    public ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
    {
        DeltaBeforeStart |= Started == 0;
        // Strict: a delta with half a character must fail the test, not become U+FFFD.
        var text = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(delta.Text.Span);
        Assert.NotEqual("", text);
        // Some tests give several streams one sink.
        lock (_texts)
        {
            Deltas.Add((delta.Kind, text));
            if (delta.Kind == DeltaKinds.Text)
                _texts.Add(text);
        }

        _firstDelta.TrySetResult();
        return OnWrite(cancellationToken);
    }
}
