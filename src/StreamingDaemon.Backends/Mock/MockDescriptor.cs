namespace StreamingDaemon.Backends.Mock;

/// <summary>The backend "mock".</summary>
public sealed class MockDescriptor : BackendDescriptor<MockOptions>
{
    /// <inheritdoc/>
    public override string Name => "mock";

    /// <inheritdoc/>
    public override string Summary => "mock streams a fixed text and needs nothing.";

    /// <inheritdoc/>
    public override IReadOnlyList<BackendOption> Options { get; } =
    [
        Option("delay_ms", new IntegerValue(0, 60_000), o => o.DelayMs, (o, v) => o with { DelayMs = v },
            "Pause between two events of the mock backend, in ms",
            "50 is about the pace of a model. 0 sends as fast as possible.") with
        {
            CommandLine = new("--delay", "-d", "MS"),
            FlatNames = ["delay", "message_delay_ms"],
        },
        Option("latency_ms", new IntegerValue(0, 60_000), o => o.LatencyMs,
            (o, v) => o with { LatencyMs = v },
            "Wait before the first event of the mock backend, in ms",
            "Imitates a model that reasons before it answers.") with
        {
            Variable = "MOCK_LATENCY_MS",
        },
    ];

    /// <inheritdoc/>
    protected override MockOptions DefaultOptions { get; } = new();

    /// <inheritdoc/>
    protected override IStreamingBackend Create(MockOptions options, BackendContext context)
    {
        var mock = new MockBackend(options, context.WriteBatch);
        // A backend that few requests name needs no thread before its first request.
        if (context.IsDefault)
            mock.Prepare();
        return mock;
    }
}
