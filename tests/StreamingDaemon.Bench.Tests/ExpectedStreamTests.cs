using StreamingDaemon.Bench.Streams;
using Xunit;
using static StreamingDaemon.Bench.Tests.Answers;

namespace StreamingDaemon.Bench.Tests;

public sealed class ExpectedStreamTests
{
    private static readonly AnswerShape s_mock = new(18, IsMock: true);

    [Fact]
    public void A_whole_answer_is_learned_with_its_events()
    {
        var expected = Expected;

        Assert.Equal(Whole, expected.Bytes);
        Assert.Equal(3, expected.Events);
        Assert.Equal(5, expected.Sends);
    }

    [Theory]
    [InlineData("HTTP/1.1 503 Service Unavailable\r\n\r\n", "status line")]
    [InlineData("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ndata: [DONE]\n\n", "Content-Type")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: [DONE]\n\n", "Connection")]
    [InlineData("HTTP/1.1 200 OK\r\n", "head has no end")]
    [InlineData("", "head has no end")]
    public void An_answer_without_the_head_of_a_stream_teaches_nothing(string answer, string reason) =>
        Rejects(answer, reason);

    [Fact]
    public void An_answer_whose_events_are_not_to_the_letter_teaches_nothing()
    {
        var three = Event("one") + Event("two") + Event("three");
        Rejects(Head + three, "has no end");
        Rejects(Head + three + "data: [DONE]\n", "has no end");
        Rejects(Head + Event("one") + Event("two") + Done, "2 events instead of 3");
        Rejects(Head + three + Event("four") + Done, "4 events instead of 3");
        Rejects(Head + three + Done + Done, "something follows [DONE]");
        Rejects(Head + Event("one") + Event("two") + "data: {\"error\":\"no\"}\n\n" + Done, "has no content");
        Rejects(Head + Event("one") + Event("two") + Event("") + Done, "has no content");
        Rejects(Head + Event("one") + Event("two") + "data: {\"content\":\"\n\n" + Done, "is no JSON");
        Rejects(Head + Event("one") + ": a comment\n\n" + Event("two") + Event("three") + Done, "no data line");
        Rejects(Head + Event("one") + "event: x\n" + Event("two") + Event("three") + Done, "no data line");
    }

    [Fact]
    public void The_mock_is_held_to_its_scheme_of_texts()
    {
        Assert.Equal(18, ExpectedStream.Learn(Mock(MockTexts()), s_mock).Events);

        foreach (var index in (int[])[0, 1, 12, 16, 17])
        {
            var texts = MockTexts();
            texts[index] = "something else";
            Assert.Throws<InvalidAnswerException>(() => ExpectedStream.Learn(Mock(texts), s_mock));
        }
    }

    private static byte[] Mock(List<string> texts) => Bytes(Head + string.Concat(texts.Select(Event)) + Done);

    private static void Rejects(string answer, string reason)
    {
        var exception = Assert.Throws<InvalidAnswerException>(
            () => ExpectedStream.Learn(Bytes(answer), ThreeEvents));
        Assert.Contains(reason, exception.Message, StringComparison.Ordinal);
    }
}
