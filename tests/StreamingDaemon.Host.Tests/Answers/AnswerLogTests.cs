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
            var rest = Encoding.UTF8.GetString(log.Read(log.PositionAfter(id), int.MaxValue));
            Assert.Equal(string.Concat(all.Skip(id)), rest);
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
