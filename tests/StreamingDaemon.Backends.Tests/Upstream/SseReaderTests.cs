using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class SseReaderTests
{
    [Theory]
    [InlineData("data: 3456\n\n", 12)] // Exactly the limit of 10.
    [InlineData("data: 34567\n\n", 0)]
    [InlineData("ok\n\ndata: 34567\n\n", 4)]
    [InlineData("data:67\ndata:67\n", 8)] // Two lines of one event.
    [InlineData("data:67\n\ndata:67\n\n", 18)]
    [InlineData("data:67\r\ndata:67\r\n", 9)] // CR LF is one line end, not a blank line.
    [InlineData("data:67\r\n\r\ndata:67\r\n", 20)]
    [InlineData("data:67\r\rdata:67\r", 17)]
    [InlineData(":1234567\n:1234567\n:1234567\n", 27)] // Comments do not add up,
    [InlineData(":1234567890\n", 0)] // but each is a line.
    public void Line_and_event_end_at_the_limit_however_they_are_cut(string text, int accepted)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        for (var size = 1; size <= bytes.Length; size++)
        {
            using var chunks = new ChunkReader("");
            using var reader = new SseReader<ChunkEvents>(new ChunkEvents(chunks), maxEventBytes: 10);
            var total = 0;
            for (var from = 0; from < bytes.Length && !reader.IsTooLong; from += size)
                total += Read(reader, bytes.AsSpan(from, Math.Min(size, bytes.Length - from)));

            Assert.Equal(accepted < bytes.Length, reader.IsTooLong);
            // Cut small, the line's start passes before the line proves too long; cut whole, it does not.
            if (size == bytes.Length || !reader.IsTooLong)
                Assert.Equal(accepted, total);
            else
                Assert.InRange(total, accepted, accepted + 10);
        }
    }

    /// <returns>How many bytes were taken.</returns>
    private static int Read(SseReader<ChunkEvents> reader, ReadOnlySpan<byte> bytes)
    {
        var offset = 0;
        while (reader.TryRead(bytes, ref offset, out _))
        {
        }

        return offset;
    }
}
