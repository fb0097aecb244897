using System.Text;
using StreamingDaemon.Bench.Streams;
using Xunit;
using static StreamingDaemon.Bench.Tests.Answers;

namespace StreamingDaemon.Bench.Tests;

public sealed class StreamCheckerTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(7)]
    [InlineData(10_000)]
    public void A_whole_stream_is_good_however_it_is_cut_into_reads(int readBytes) =>
        Assert.Equal(StreamVerdict.Good, Judge(Whole, readBytes));

    [Fact]
    public void Each_stream_that_ends_early_is_truncated_wherever_it_ends()
    {
        for (var length = 0; length < Whole.Length; length++)
            Assert.Equal(StreamVerdict.Truncated, Judge(Whole[..length]));
    }

    [Fact]
    public void A_stream_without_DONE_is_not_good() =>
        Assert.Equal(StreamVerdict.Truncated, Judge(Bytes(Head + Event("one") + Event("two") + Event("three"))));

    [Fact]
    public void Events_in_another_order_are_wrong() =>
        Assert.Equal(StreamVerdict.WrongBytes,
            Judge(Bytes(Head + Event("two") + Event("one") + Event("three") + Done)));

    [Fact]
    public void An_event_that_is_missing_or_there_twice_is_wrong()
    {
        Assert.Equal(StreamVerdict.WrongBytes, Judge(Bytes(Head + Event("one") + Event("three") + Done)));
        Assert.Equal(StreamVerdict.WrongBytes,
            Judge(Bytes(Head + Event("one") + Event("one") + Event("two") + Event("three") + Done)));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10_000)]
    public void Bytes_behind_DONE_are_found_in_the_same_read_and_in_another(int readBytes) =>
        Assert.Equal(StreamVerdict.ExtraBytes, Judge([.. Whole, (byte)'\n'], readBytes));

    [Fact]
    public void Each_single_changed_byte_is_noticed()
    {
        for (var i = 0; i < Whole.Length; i++)
        {
            var changed = Whole;
            changed[i] ^= 0x20;
            Assert.NotEqual(StreamVerdict.Good, Judge(changed));
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10_000)]
    public void Another_status_is_a_refusal(int readBytes) =>
        Assert.Equal(StreamVerdict.Refused,
            Judge(Bytes("HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\n\r\n"), readBytes));

    [Fact]
    public void Marks_are_reached_with_the_last_byte_of_the_head_of_each_event_and_of_DONE()
    {
        var expected = Expected;
        var checker = new StreamChecker();
        var reached = new StringBuilder();
        for (var i = 0; i < Whole.Length; i++)
        {
            var before = checker.MarksReached;
            _ = checker.Accept(Whole.AsSpan(i, 1), expected);
            if (checker.MarksReached > before)
                reached.Append(i + 1).Append(' ');
        }

        var head = Head.Length;
        var ends = new[] { head, head + Event("one").Length, head + 2 * Event("one").Length,
            head + 2 * Event("one").Length + Event("three").Length, Whole.Length };
        Assert.Equal(string.Join(' ', ends) + " ", reached.ToString());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10_000)]
    public void A_kept_answer_has_an_id_of_its_own_and_numbered_events(int readBytes)
    {
        var expected = ExpectedStream.Learn(Kept("aaaa"), new AnswerShape(3, IsMock: false));
        Assert.Equal(StreamVerdict.Good, Judge(Kept("aaaa"), readBytes, expected));
        Assert.Equal(StreamVerdict.Good, Judge(Kept("a0c9"), readBytes, expected));
        Assert.Equal(StreamVerdict.WrongBytes, Judge(Kept("a0c9", second: 3), readBytes, expected));
        Assert.Equal(StreamVerdict.WrongBytes, Judge(Kept("a0c9d"), readBytes, expected));
        Assert.Throws<InvalidAnswerException>(
            () => ExpectedStream.Learn(Kept("aaaa", second: 3), new AnswerShape(3, IsMock: false)));
    }

    private static byte[] Kept(string id, int second = 2) => Bytes(
        Head.Replace("\r\n\r\n", $"\r\nX-Answer-Id: {id}\r\n\r\n", StringComparison.Ordinal)
        + $"id: 1\n{Event("one")}id: {second}\n{Event("two")}id: 3\n{Event("three")}id: 4\n{Done}");

    private static StreamVerdict Judge(byte[] stream, int readBytes = 64, ExpectedStream? reference = null)
    {
        var expected = reference ?? Expected;
        var checker = new StreamChecker();
        for (var at = 0; at < stream.Length; at += readBytes)
        {
            var verdict = checker.Accept(stream.AsSpan(at, Math.Min(readBytes, stream.Length - at)), expected);
            if (verdict != StreamVerdict.Open)
                return verdict;
        }

        return checker.End(expected);
    }
}
