using System.Text;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class AllocationTests
{
    private const int Tokens = 10_000;

    // In a debug build each call of an async method makes an object.
#if DEBUG
    private const int BytesPerToken = 384;
#else
    private const int BytesPerToken = 1;
#endif

    [Fact]
    public async Task Reading_a_token_allocates_nothing()
    {
        await ReadAsync(); // Fills the pools and compiles.
        var before = GC.GetAllocatedBytesForCurrentThread();
        var bytes = await ReadAsync();
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;

        Assert.Equal(Tokens * 6, bytes);
        // The stream itself costs a few hundred bytes.
        Assert.InRange(allocated, 0, Tokens * BytesPerToken);
    }

    [Fact]
    public async Task Mock_event_allocates_nothing()
    {
        using var backend = new MockBackend(new MockOptions { DelayMs = 0 });
        var request = new StreamRequest { RequestId = "r", Prompt = "Hi" };
        var sink = new CountingSink();
        await backend.StreamAsync(request, sink, default);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var stream = 0; stream < 1000; stream++)
            await backend.StreamAsync(request, sink, default);
        var perStream = (GC.GetAllocatedBytesForCurrentThread() - before) / 1000;

        // One delay and one task per stream, nothing for each of the 18 events. A debug build adds one object
        // for each of the two texts made for the stream.
        Assert.InRange(perStream, 0, 640);
    }

    private static async Task<int> ReadAsync()
    {
        var chunk = Encoding.UTF8.GetBytes(
            "data: {\"id\":\"1\","
            + "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"tok\\u00e9n\"},"
            + "\"finish_reason\":null}]}\n\n");
        var sink = new CountingSink();
        using var body = new RepeatingStream(chunk, Tokens);
        var relay = new ResponsePump<ChunkEvents>(
            body, sink, new ChunkEvents(new ChunkReader("")), 1024, 200, default);
        Assert.Equal(StreamOutcome.UpstreamTruncated, (await relay.RunAsync(body)).Outcome);

        return sink.Bytes;
    }

    private sealed class CountingSink : IDeltaSink
    {
        public int Bytes { get; private set; }

        public void OnResponseStarted()
        {
        }

        public void OnRetry(UpstreamFault fault)
        {
        }

        public void OnUpstreamActivity()
        {
        }

        public ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
        {
            Bytes += delta.Text.Length;
            return ValueTask.CompletedTask;
        }
    }

    /// <summary>One chunk per write, as tokens come; never waits, so that everything happens on one
    /// thread.</summary>
    private sealed class RepeatingStream(byte[] chunk, int times) : MemoryStream
    {
        public override async Task CopyToAsync(
            Stream destination, int bufferSize, CancellationToken cancellationToken)
        {
            for (var i = 0; i < times; i++)
                await destination.WriteAsync(chunk, cancellationToken);
        }
    }
}
