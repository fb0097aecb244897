using System.Buffers;
using System.Text;
using StreamingDaemon.Host.Answers;
using Xunit;

namespace StreamingDaemon.Host.Tests.Answers;

public sealed class AnswerLogTests
{
    [Fact]
    public void Every_event_is_found_behind_the_one_before_it()
    {
        var log = new AnswerLog();
        var all = Fill(log, 200);

        for (var id = 0; id <= 200; id++)
        {
            Assert.Equal(string.Concat(all.Skip(id)), ReadFrom(log, log.PositionAfter(id)));
        }

        Assert.Equal(log.End, log.PositionAfter(5000));
    }

    [Fact]
    public void Piece_of_a_long_answer_ends_with_a_whole_event()
    {
        var log = new AnswerLog();
        var all = Fill(log, 50);
        var read = new StringBuilder();
        for (long position = 0; position < log.End;)
        {
            var piece = Encoding.UTF8.GetString(log.Read(position, 64));
            Assert.EndsWith("\n\n", piece, StringComparison.Ordinal);
            read.Append(piece);
            position += Encoding.UTF8.GetByteCount(piece);
        }

        Assert.Equal(string.Concat(all), read.ToString());
    }

    [Theory]
    [InlineData(3000, 50)]
    [InlineData(300, 5_000)]
    [InlineData(40, 16_300)]
    [InlineData(9, 100_000)]
    public void Long_answer_is_read_whole_from_every_event_and_takes_little_more_than_its_bytes(int events, int bytes)
    {
        var log = new AnswerLog();
        var all = new List<string>();
        for (var i = 0; i < events; i++)
        {
            log.BeginEvent();
            var data = $"data: {new string((char)('a' + (i % 26)), bytes - (i % 7))}\n\n";
            // As formats write: some bytes, then some more.
            foreach (var part in new[] { data[..3], data[3..(bytes / 2)], data[(bytes / 2)..] })
                log.Write(Encoding.UTF8.GetBytes(part));
            all.Add($"id: {log.Events}\n{data}");
        }

        Assert.InRange(log.Capacity, log.End, (log.End * 4 / 3) + (3 * bytes) + (16 * 1024));
        foreach (var id in new[] { 0, 1, events / 2, events - 1 })
            Assert.Equal(string.Concat(all.Skip(id)), ReadFrom(log, log.PositionAfter(id)));
        log.Seal();
        Assert.InRange(log.Capacity, log.End, (log.End * 4 / 3) + (3 * bytes));
        Assert.Equal(string.Concat(all), ReadFrom(log, 0));
        Assert.Equal(string.Concat(all.Skip(events / 2)), ReadFrom(log, log.PositionAfter(events / 2)));
    }

    [Fact]
    public void Bytes_that_a_slow_reader_has_read_are_given_back_while_it_reads_on()
    {
        var log = new AnswerLog();
        var all = Fill(log, 3000);
        var full = log.Capacity;

        log.DropBefore(log.PositionAfter(2900));

        Assert.InRange(log.Capacity, 1, full / 3);
        Assert.Equal(string.Concat(all.Skip(2900)), ReadFrom(log, log.End - log.Held));
        log.DropBefore(log.End);
        Assert.InRange(log.Capacity, 0, 16 * 1024);
        Fill(log, 1);
        Assert.StartsWith("id: 3001\n", ReadFrom(log, log.End - log.Held), StringComparison.Ordinal);
    }

    [Fact]
    public void Event_longer_than_a_piece_is_one_piece()
    {
        var log = new AnswerLog();
        log.BeginEvent();
        log.Write(Encoding.UTF8.GetBytes($"data: {new string('x', 1000)}\n\n"));
        Fill(log, 1);

        Assert.Equal(log.PositionAfter(1), log.Read(0, 10).Length);
    }

    [Fact]
    public void Ended_answer_takes_its_bytes_and_no_more()
    {
        var log = new AnswerLog();
        Fill(log, 200);

        log.Seal();

        Assert.Equal(log.End, log.Capacity);
    }

    [Fact]
    public void Dropped_events_take_no_room_for_new_ones()
    {
        var log = new AnswerLog();
        var capacity = 0;
        for (var i = 0; i < 1000; i++)
        {
            Fill(log, 1);
            capacity = Math.Max(capacity, log.Capacity);
            log.DropBefore(log.End);
        }

        Assert.Equal(0, log.Held);
        Assert.InRange(capacity, 1, 4096);
    }

    private static string ReadFrom(AnswerLog log, long position)
    {
        var read = new StringBuilder();
        while (log.Read(position, 8_000) is { IsEmpty: false } piece)
        {
            read.Append(Encoding.UTF8.GetString(piece));
            position += piece.Length;
        }

        return read.ToString();
    }

    private static List<string> Fill(AnswerLog log, int events)
    {
        var all = new List<string>();
        for (var i = 0; i < events; i++)
        {
            log.BeginEvent();
            var data = $"data: {{\"content\":\"{new string('a', i % 40)}\"}}\n\n";
            log.Write(Encoding.UTF8.GetBytes(data));
            all.Add($"id: {log.Events}\n{data}");
        }

        return all;
    }
}
