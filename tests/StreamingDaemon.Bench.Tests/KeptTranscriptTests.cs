using StreamingDaemon.Testing.Chaos;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

/// <summary>The judge of the chaos of kept answers finds what it is there for.</summary>
public sealed class KeptTranscriptTests
{
    private const string One = "id: 1\ndata: {\"content\":\"a/1/1 \"}";
    private const string Two = "id: 2\ndata: {\"content\":\"a/1/2 \"}";
    private const string Done = "id: 3\ndata: [DONE]";
    private const string Error = "id: 3\ndata: {\"error\":\"no\",\"code\":\"upstream_failed\"}";

    private static readonly KeptPlan s_plan = new("a", KeptFate.Whole, 2, 0);

    [Theory]
    [InlineData(KeptEnd.None, One)]
    [InlineData(KeptEnd.Done, One, Two, Done)]
    [InlineData(KeptEnd.Done, One, ": keep-alive", Two, Done)]
    [InlineData(KeptEnd.Done, One, Two, "id: 3\ndata: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}", "id: 4\ndata: [DONE]")]
    [InlineData(KeptEnd.Error, One, Two, Error)]
    [InlineData(KeptEnd.Error, One, "data: {\"error\":\"the daemon died\"}")]
    public void Prefixes_of_the_answer_are_no_complaint(KeptEnd end, params string[] events)
    {
        var transcript = new KeptTranscript(s_plan);

        Assert.All(events, one => Assert.Null(transcript.Take(one)));

        Assert.Equal(end, transcript.End);
    }

    [Theory]
    [InlineData("event 2 after 0", Two)]
    [InlineData("event 1 after 1", One, One)]
    [InlineData("event 3 after 1", One, Done)]
    [InlineData("piece 2 is", One, "id: 2\ndata: {\"content\":\"a/1/3 \"}")]
    [InlineData("piece 2 is", One, "id: 2\ndata: {\"content\":\"a/1/1 \"}")]
    [InlineData("piece 1 is", "id: 1\ndata: {\"content\":\"b/1/1 \"}")]
    [InlineData("call 2 after call 1", One, "id: 2\ndata: {\"content\":\"a/2/2 \"}")]
    [InlineData("after the end", One, Two, Done, Done)]
    [InlineData("after the end", One, Two, Error, "id: 4\ndata: [DONE]")]
    [InlineData("an event without an id", "data: {\"content\":\"a/1/1 \"}")]
    [InlineData("unknown data", "id: 1\ndata: {}")]
    [InlineData("an event without data", "id: 1\nevent: x")]
    public void What_a_reader_may_not_get_is_named(string complaint, params string[] events)
    {
        var transcript = new KeptTranscript(s_plan);

        Assert.All(events[..^1], one => Assert.Null(transcript.Take(one)));

        Assert.Contains(complaint, transcript.Take(events[^1]), StringComparison.Ordinal);
    }

    [Fact]
    public void Stream_that_is_not_kept_has_no_ids_and_ends_with_a_comment_if_it_was_cut()
    {
        var transcript = new KeptTranscript(s_plan);

        Assert.Null(transcript.Take("data: {\"content\":\"a/1/1 \"}", isKept: false));
        Assert.Null(transcript.Take(": the upstream ended early", isKept: false));

        Assert.Equal((0, 1, KeptEnd.Error), (transcript.Last, transcript.Pieces, transcript.End));
    }
}
