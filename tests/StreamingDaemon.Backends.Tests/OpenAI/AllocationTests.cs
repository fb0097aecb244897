using System.Net.ServerSentEvents;
using System.Text;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Backends.OpenAI;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class AllocationTests
{
    private const int Tokens = 10_000;

    // A debug build makes each call of an async method an object: here the one of UpstreamStream.ReadAsync.
#if DEBUG
    private const int BytesPerToken = 128;
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
        // The stream itself costs a few kilobytes: reader, parser, enumerator.
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
        for (var stream = 0; stream < 1000; stream++) await backend.StreamAsync(request, sink, default);
        var perStream = (GC.GetAllocatedBytesForCurrentThread() - before) / 1000;

        // One delay and one task a stream, nothing for each of the 18 events.
        Assert.InRange(perStream, 0, 400);
    }

    private static async Task<int> ReadAsync()
    {
        var chunk = Encoding.UTF8.GetBytes(
            "data: {\"id\":\"1\","
            + "\"choices\":[{\"index\":0,\"delta\":{\"content\":\"tok\\u00e9n\"},"
            + "\"finish_reason\":null}]}\n\n");
        var sink = new CountingSink();
        using var body = new RepeatingStream(chunk, Tokens);
        using var stream = new UpstreamStream(body, body, sink, 1024);
        using var chunks = new ChunkReader("");
        await foreach (var item in SseParser.Create(stream, chunks.Read).EnumerateAsync())
        {
            Assert.True(item.Data == ChunkKind.Chunk);
            await sink.WriteAsync(new StreamDelta(chunks.Text), default);
        }

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

    /// <summary>One chunk a read, as tokens come; always ready, so that all happens on one thread.</summary>
    private sealed class RepeatingStream(byte[] chunk, int times) : MemoryStream
    {
        private int _left = times;
        private int _offset;

        public override ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_left == 0) return ValueTask.FromResult(0);
            var part = chunk.AsSpan(_offset);
            part = part[..Math.Min(part.Length, buffer.Length)];
            part.CopyTo(buffer.Span);
            _offset += part.Length;
            if (_offset == chunk.Length) (_offset, _left) = (0, _left - 1);
            return ValueTask.FromResult(part.Length);
        }
    }
}
