using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class AnswerMemoryTests
{
    private readonly CountingRequest _request = new();

    [Fact]
    public void Line_that_has_not_ended_counts_with_its_garbage_until_it_ends()
    {
        using var reader = NewReader();

        Read(reader, "data: {\"x\":\"" + new string('x', 100_000));
        Assert.InRange(_request.Held, 200_000, 500_000);
        Read(reader, "\"}\n\n");

        Assert.Equal(0, _request.Held);
    }

    [Fact]
    public void Event_of_many_lines_that_has_not_ended_counts_until_it_ends()
    {
        using var reader = NewReader();

        for (var i = 0; i < 100; i++)
            Read(reader, "data: " + new string(' ', 1_000) + "\n");
        Assert.InRange(_request.Held, 100_000, 500_000);
        Read(reader, "data: {}\n\n");

        Assert.Equal(0, _request.Held);
    }

    [Fact]
    public void Short_line_takes_what_its_stream_has_been_counted_with()
    {
        using var reader = NewReader();

        Read(reader, "data: " + new string('x', 5_000));

        Assert.Equal(0, _request.Calls);
    }

    [Fact]
    public void Line_grows_no_further_once_streams_hold_too_much()
    {
        _request.HasRoom = false;
        using var reader = NewReader();

        Assert.Throws<InsufficientMemoryException>(() => Read(reader, "data: " + new string('x', 100_000)));
    }

    [Fact]
    public void Largest_text_counts_beside_what_waits_for_the_client()
    {
        var memory = new AnswerMemory(_request);

        memory.AddText(40_000);
        memory.AddText(100);
        memory.SetBehind(1_000);
        Assert.Equal(65_536 + 1_000, _request.Held);
        memory.SetBehind(0);

        Assert.Equal(65_536, _request.Held);
    }

    private SseReader<ChunkEvents> NewReader() =>
        new(new ChunkEvents(new ChunkReader("")), maxEventBytes: 1 << 20, new AnswerMemory(_request));

    private static void Read(SseReader<ChunkEvents> reader, string text)
    {
        var offset = 0;
        while (reader.TryRead(Encoding.UTF8.GetBytes(text), ref offset, out _))
        {
        }
    }

    private sealed record CountingRequest : StreamRequest
    {
        public bool HasRoom { get; set; } = true;

        public long Held { get; private set; }

        public int Calls { get; private set; }

        public override bool HoldAnswer(long bytes)
        {
            (Held, Calls) = (bytes, Calls + 1);
            return HasRoom;
        }
    }
}
