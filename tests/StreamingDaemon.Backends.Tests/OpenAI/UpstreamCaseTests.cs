using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>The corpus of what upstreams send: each case reads the same however its bytes are cut.</summary>
public sealed class UpstreamCaseTests
{
    /// <summary>A case of events; cases of HTTP need a server.</summary>
    public static TheoryData<string> EventCases { get; } = [.. UpstreamCase.All
        .Where(one => one.Head[0].Contains(" 200", StringComparison.Ordinal)
            && one.Head.Any(line => line == "Content-Type: text/event-stream") && !one.IsFramed
            && !one.Head.Any(line => line.StartsWith("Content-Encoding", StringComparison.Ordinal)))
        .Select(one => one.Name)];

    public static TheoryData<string> DeltaCases { get; } =
        [.. UpstreamCase.All.Where(one => one.Deltas is not null).Select(one => one.Name)];

    [Fact]
    public void Corpus_has_150_cases() => Assert.InRange(UpstreamCase.All.Count, 150, int.MaxValue);

    [Trait("Takes", "Long")]
    [Theory]
    [MemberData(nameof(EventCases))]
    public void Case_reads_the_same_whole_byte_by_byte_and_split_anywhere(string name)
    {
        var one = UpstreamCase.Named(name);
        Check(one, [one.Plain]);
        Check(one, one.Plain.Select(b => new[] { b }));
        for (var at = 1; at < one.Plain.Length; at++)
            Check(one, [one.Plain[..at], one.Plain[at..]]);
    }

    [Theory]
    [MemberData(nameof(DeltaCases))]
    public async Task Deltas_are_those_that_the_stream_wants(string name)
    {
        await using var server = new UpstreamCaseServer();
        using var backend = BackendUnderTest.WithoutBackoff(new OpenAIOptions
        {
            ApiKey = BackendUnderTest.ApiKey,
            ApiBase = server.BaseAddress,
            Http2Enabled = false,
        });
        var one = UpstreamCase.Named(name);
        var sink = new RecordingSink();
        var request = BackendUnderTest.Prompt;
        request.TestPattern = name;
        request.Wanted = WantedBy(one);

        var result = await backend.StreamAsync(request, sink, default).WithinLimit();

        CheckEnd(one, result);
        Assert.Equal(one.Deltas, sink.Deltas.Select(delta => $"{delta.Kind}: {delta.Text}"));
        Assert.Contains("Accept-Encoding: identity", server.LastHead, StringComparison.Ordinal);
    }

    private static void Check(UpstreamCase one, IEnumerable<byte[]> pieces)
    {
        var sink = new RecordingSink();
        using var body = new PiecewiseBody(pieces, one.End);
        var pump = new ResponsePump<ChunkEvents>(body, sink,
            new ChunkEvents(new ChunkReader(BackendUnderTest.ApiKey, WantedBy(one))), 1 << 20, 200, default);
        // Nothing here ever waits.
        var result = pump.RunAsync(body).AsTask().GetAwaiter().GetResult();

        CheckEnd(one, result);
        if (one.Deltas is { } deltas)
            Assert.Equal(deltas, sink.Deltas.Select(delta => $"{delta.Kind}: {delta.Text}"));
        else
            Assert.Equal(one.Texts, sink.Texts);
    }

    private static void CheckEnd(UpstreamCase one, BackendResult result)
    {
        Assert.Equal((one.Outcome, one.Fault, one.Finish),
            (result.Outcome.ToString(), result.Fault?.ToString(), result.FinishReason));
        if (one.Log is { } word)
            Assert.Contains(word, result.Reason, StringComparison.Ordinal);
    }

    private static DeltaKinds WantedBy(UpstreamCase one) =>
        one.Wanted is { } wanted ? Enum.Parse<DeltaKinds>(wanted) : DeltaKinds.Text;

    /// <summary>Brings its pieces one by one, and then the end of the case.</summary>
    private sealed class PiecewiseBody(IEnumerable<byte[]> pieces, UpstreamCaseEnd end) : MemoryStream
    {
        public override async Task CopyToAsync(
            Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            foreach (var piece in pieces)
                await destination.WriteAsync(piece, cancellationToken);
            if (end is UpstreamCaseEnd.Cut or UpstreamCaseEnd.Reset)
                throw new IOException("Connection reset by peer");
        }
    }
}
