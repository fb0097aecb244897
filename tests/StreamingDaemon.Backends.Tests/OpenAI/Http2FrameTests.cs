using System.Globalization;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>What becomes of a stream whose HTTP/2 server does what libraries do not: each frame is written by
/// hand, many in one piece.</summary>
public sealed class Http2FrameTests
{
    /// <summary>RFC 9113, section 7: the stream was not looked at.</summary>
    private const int RefusedStream = 7;

    /// <summary>How a connection or a stream ends.</summary>
    public static TheoryData<string> Ends { get; } =
    [
        .. Enumerable.Range(0, 15).Select(code => $"reset {code}"), "goaway 0", "goaway 2", "goaway 11", "goaway below",
        "fin", "rst",
    ];

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task Finish_reason_makes_the_answer_whole_however_the_stream_ends_in_the_same_piece(string end)
    {
        await using var server = new RawHttp2Server(stream => SendAsync(stream, end, stream.Text("Hi"), stream.Finish));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
        Assert.Equal("stop", result.FinishReason);
        AssertOneRequest(server, end);
    }

    [Theory]
    [MemberData(nameof(Ends))]
    public async Task Text_before_the_end_arrives_and_is_never_asked_for_again(string end)
    {
        await using var server = new RawHttp2Server(stream => SendAsync(stream, end, stream.Text("Hi")));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.UpstreamError, UpstreamFault.BrokenOff), (result.Outcome, result.Fault));
        Assert.Equal("Hi", sink.Whole);
        AssertOneRequest(server, end);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(7)]
    [InlineData(11)]
    public async Task Stream_that_is_reset_before_its_head_is_asked_again_and_served(int code)
    {
        var first = 0;
        await using var server = new RawHttp2Server(stream => Interlocked.Exchange(ref first, 1) == 0
            ? stream.SendAsync(stream.Reset(code))
            : AnswerAsync(stream));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi", 2), (result.Outcome, sink.Whole, server.Requests));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    [InlineData(11)]
    public async Task Stream_above_a_goaway_is_asked_again_on_another_connection(int code)
    {
        var first = 0;
        await using var server = new RawHttp2Server(stream => Interlocked.Exchange(ref first, 1) == 0
            ? stream.SendAsync(RawHttp2Stream.GoAwayAt(0, code))
            : AnswerAsync(stream));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi", 2), (result.Outcome, sink.Whole, server.Connections));
    }

    /// <summary>A server may send GOAWAY, and then cut a stream that it had promised to serve.</summary>
    [Theory]
    [InlineData(0, "fin")]
    [InlineData(2, "fin")]
    [InlineData(11, "fin")]
    [InlineData(0, "rst")]
    [InlineData(11, "reset 11")]
    public async Task Stream_that_a_goaway_includes_and_that_ends_before_its_head_is_asked_again(int code, string end)
    {
        var first = 0;
        await using var server = new RawHttp2Server(async stream =>
        {
            if (Interlocked.Exchange(ref first, 1) != 0)
            {
                await AnswerAsync(stream);
                return;
            }

            await stream.SendAsync(RawHttp2Stream.GoAwayAt(stream.Id, code));
            if (end == "fin")
                stream.CloseConnection();
            else if (end == "rst")
                stream.ResetConnection();
            else
                await stream.SendAsync(stream.Reset(code));
        });
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi", 2), (result.Outcome, sink.Whole, server.Connections));
    }

    /// <summary>RFC 9113, section 6.5.2: a server may allow no stream for a moment. It refuses what comes
    /// meanwhile.</summary>
    [Fact]
    public async Task Server_that_raises_its_limit_of_streams_serves_those_that_waited()
    {
        const int Streams = 5;
        var raised = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        // SETTINGS_MAX_CONCURRENT_STREAMS (3): 0, and later 2.
        await using var server = new RawHttp2Server(
            stream => raised.Task.IsCompleted ? AnswerAsync(stream) : stream.SendAsync(stream.Reset(RefusedStream)))
        {
            Settings = [0, 3, 0, 0, 0, 0],
            Greeting = connection =>
            {
                _ = RaiseAsync(connection);
                return Task.CompletedTask;
            },
        };
        using var backend = Backend(server);
        var sinks = Enumerable.Range(0, Streams).Select(_ => new RecordingSink()).ToArray();
        var streams = sinks.Select(sink => backend.StreamAsync(BackendUnderTest.Prompt, sink, default)).ToArray();
        await Eventually.TrueAsync(() => server.Connections > 1);
        await Task.WhenAny(Task.WhenAny(streams), Task.Delay(300));

        raised.SetResult();

        var results = await Task.WhenAll(streams).WithinLimit();
        Assert.All(results, result => Assert.Equal((StreamOutcome.Completed, null), (result.Outcome, result.Reason)));
        Assert.All(sinks, sink => Assert.Equal("Hi", sink.Whole));

        async Task RaiseAsync(RawHttp2Stream connection)
        {
            await raised.Task;
            await connection.SendAsync(connection.Frame(RawHttp2Stream.Settings, [0, 3, 0, 0, 0, 2]));
        }
    }

    [Fact]
    public async Task Server_that_allows_no_stream_within_the_time_for_connecting_is_named()
    {
        await using var server = new RawHttp2Server(stream => stream.SendAsync(stream.Reset(RefusedStream)))
        {
            Settings = [0, 3, 0, 0, 0, 0],
        };
        using var backend = BackendUnderTest.WithoutBackoff(OptionsFor(server) with
        {
            ConnectTimeoutMs = 500,
            MaxRetries = 0,
        });
        var result = await backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();
        Assert.Equal((StreamOutcome.UpstreamTimeout, UpstreamFault.ConnectTimeout), (result.Outcome, result.Fault));
        Assert.Equal("no connection to the upstream within 500 ms; "
            + "the last one allowed no streams (SETTINGS_MAX_CONCURRENT_STREAMS: 0)", result.Reason);
    }

    /// <summary>The client's SETTINGS forbid a push, and no window grows by 0 (RFC 9113, sections 8.4 and 6.9).</summary>
    [Theory]
    [InlineData("push", "PROTOCOL_ERROR")]
    [InlineData("window 0", "PROTOCOL_ERROR")]
    [InlineData("window 0 of the connection", "PROTOCOL_ERROR")]
    public async Task Frame_that_breaks_the_protocol_is_an_error_that_names_it(string what, string name)
    {
        await using var server = new RawHttp2Server(async stream =>
        {
            byte[] frame = what switch
            {
                "push" => stream.Frame(5, [0, 0, 0, 2, 0x82, 0x86, 0x84], RawHttp2Stream.EndHeaders),
                "window 0" => stream.Frame(8, [0, 0, 0, 0]),
                _ => [0, 0, 4, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            };
            await stream.SendAsync(frame);
        });
        var (result, _) = await AskAsync(server);
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.Contains(name, result.Reason, StringComparison.Ordinal);
    }

    /// <summary>The reader has its text: nothing is lost.</summary>
    [Theory]
    [InlineData("push")]
    [InlineData("window 0")]
    public async Task Answer_with_its_finish_reason_is_whole_whatever_breaks_the_protocol_after_it(string what)
    {
        await using var server = new RawHttp2Server(stream => stream.SendAsync(
            stream.Head, stream.Text("Hi"), stream.Finish, what == "push"
                ? stream.Frame(5, [0, 0, 0, 2, 0x82, 0x86, 0x84], RawHttp2Stream.EndHeaders)
                : stream.Frame(8, [0, 0, 0, 0])));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(2)]
    public async Task Stream_below_a_goaway_goes_on_to_its_end(int code)
    {
        await using var server = new RawHttp2Server(stream => stream.SendAsync(
            stream.Head, stream.Text("H"), RawHttp2Stream.GoAwayAt(stream.Id, code), stream.Text("i"), stream.Finish,
            stream.End));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi", 1), (result.Outcome, sink.Whole, server.Requests));
    }

    [Fact]
    public async Task Trailers_with_an_error_after_the_finish_reason_change_nothing()
    {
        await using var server = new RawHttp2Server(stream => stream.SendAsync(
            stream.Head, stream.Text("Hi"), stream.Finish, stream.Trailers("grpc-status", "13")));
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
    }

    [Fact]
    public async Task Trailers_in_place_of_an_answer_are_an_empty_answer()
    {
        await using var server = new RawHttp2Server(stream => stream.SendAsync(
            stream.Head, stream.Trailers("grpc-status", "14")));
        var (result, _) = await AskAsync(server);
        Assert.Equal(UpstreamFault.EmptyAnswer, result.Fault);
    }

    [Theory]
    [InlineData(100, 1)]
    [InlineData(103, 1)]
    [InlineData(103, 200)]
    public async Task Interim_responses_before_the_head_are_skipped(int status, int count)
    {
        await using var server = new RawHttp2Server(async stream =>
        {
            for (var i = 0; i < count; i++)
                await stream.SendAsync(stream.Interim(status));
            await AnswerAsync(stream);
        });
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Answer_that_ends_before_the_request_is_sent_is_whole(bool isReset)
    {
        await using var server = new RawHttp2Server(async stream =>
        {
            await stream.SendAsync(stream.Head, stream.Text("Hi"), stream.Finish, stream.End);
            // RFC 9113, section 8.1: the rest of the request is not needed.
            if (isReset)
                await stream.SendAsync(stream.Reset(0));
        });
        var (result, sink) = await AskAsync(server, new string('x', 1 << 20));
        Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
    }

    [Fact]
    public async Task Server_that_gives_no_window_can_still_answer()
    {
        // SETTINGS_INITIAL_WINDOW_SIZE (4): 0.
        await using var server = new RawHttp2Server(AnswerAsync) { Settings = [0, 4, 0, 0, 0, 0] };
        // A short request is sent first.
        var (result, sink) = await AskAsync(server, new string('x', 1 << 17));
        Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
    }

    [Theory]
    [InlineData(new byte[] { 0, 4, 0, 0, 0, 0 })]
    [InlineData(new byte[] { 0, 3, 0, 0, 0, 0 })]
    public async Task Server_without_window_or_stream_holds_requests_until_their_clients_leave(byte[] settings)
    {
        const int Streams = 5;
        await using var server = new RawHttp2Server(
            stream => settings[1] == 3 ? stream.SendAsync(stream.Reset(RefusedStream)) : Task.CompletedTask)
        {
            Settings = settings,
        };
        using var backend = Backend(server);
        using var leaving = new CancellationTokenSource();
        var streams = Enumerable.Range(0, Streams)
            .Select(_ => backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), leaving.Token)).ToArray();
        await Eventually.TrueAsync(() => server.Connections > 0);
        await Task.WhenAny(Task.WhenAny(streams), Task.Delay(1_000));
        Assert.DoesNotContain(streams, stream => stream.IsCompleted);
        var connections = server.Connections;

        await leaving.CancelAsync();

        foreach (var stream in streams)
            await Assert.ThrowsAnyAsync<OperationCanceledException>(() => stream.WithinLimit());
        Assert.InRange(connections, 1, 2 * Streams);
    }

    [Theory]
    [InlineData(RawHttp2Stream.Ping, 8)]
    [InlineData(RawHttp2Stream.Settings, 0)]
    [InlineData(0x2, 5)]
    [InlineData(0x20, 0)]
    [InlineData(0x8, 4)]
    public async Task Flood_of_frames_that_bring_nothing_ends_the_connection_and_is_an_error(byte type, int length)
    {
        var payload = new byte[length];
        payload.AsSpan()[^(length > 0 ? 1 : 0)..].Fill(1);
        await using var server = new RawHttp2Server(async stream =>
        {
            await stream.SendAsync(stream.Head);
            var connection = type is 0x2 or 0x20 ? stream.Frame(type, payload) : [.. stream.Frame(type, payload)[..5], 0, 0, 0, 0, .. payload];
            var frames = Enumerable.Repeat(connection, 1000).ToArray();
            while (true)
                await stream.SendAsync(frames);
        });
        var (result, _) = await AskAsync(server);
        Assert.Equal(StreamOutcome.UpstreamError, result.Outcome);
        Assert.Contains("frames", result.Reason, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Pings_and_unknown_frames_between_the_texts_change_nothing()
    {
        await using var server = new RawHttp2Server(async stream =>
        {
            byte[] ping = [0, 0, 8, RawHttp2Stream.Ping, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8];
            await stream.SendAsync(stream.Head);
            for (var i = 0; i < 200; i++)
                await stream.SendAsync(ping, stream.Frame(0x20, "xx"u8), stream.Frame(RawHttp2Stream.Data, []), stream.Text("x"));
            await stream.SendAsync(stream.Finish, stream.End);
        });
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, 200), (result.Outcome, sink.Whole.Length));
    }

    [Fact]
    public async Task Text_in_frames_of_one_byte_and_with_padding_arrives_whole()
    {
        await using var server = new RawHttp2Server(async stream =>
        {
            await stream.SendAsync(stream.Head);
            foreach (var b in stream.Text("Hé 😀")[9..])
                await stream.SendAsync(stream.Frame(RawHttp2Stream.Data, [2, b, 0, 0], flags: 8));
            await stream.SendAsync(stream.Finish, stream.End);
        });
        var (result, sink) = await AskAsync(server);
        Assert.Equal((StreamOutcome.Completed, "Hé 😀"), (result.Outcome, sink.Whole));
    }

    [Theory]
    [InlineData(24, true)]
    [InlineData(48, false)]
    public async Task Head_of_24_kilobytes_is_read_and_one_of_48_is_an_error_that_says_so(int kilobytes, bool isRead)
    {
        await using var server = new RawHttp2Server(async stream =>
        {
            // A header of 1000 bytes for each kilobyte; the length is HPACK's 127 + 873 (RFC 7541, section 5.1).
            var header = new List<byte>([0x00, 1, (byte)'x', 0x7f, 0xe9, 0x06]);
            header.AddRange(Enumerable.Repeat((byte)'v', 1000));
            await stream.SendAsync(stream.Frame(RawHttp2Stream.Headers, [0x88, 0x0f, 0x10, 17, .. "text/event-stream"u8]));
            for (var i = 1; i <= kilobytes; i++)
                await stream.SendAsync(stream.Frame(9, [.. header], flags: i == kilobytes ? RawHttp2Stream.EndHeaders : (byte)0));
            await stream.SendAsync(stream.Text("Hi"), stream.Finish, stream.End);
        });
        var (result, sink) = await AskAsync(server);
        if (isRead)
            Assert.Equal((StreamOutcome.Completed, "Hi"), (result.Outcome, sink.Whole));
        else
            Assert.Contains("head is too long", result.Reason, StringComparison.Ordinal);
    }

    private static Task AnswerAsync(RawHttp2Stream stream) =>
        stream.SendAsync(stream.Head, stream.Text("Hi"), stream.Finish, stream.End);

    private static async Task SendAsync(RawHttp2Stream stream, string end, params byte[][] frames)
    {
        var words = end.Split(' ');
        byte[] last = words switch
        {
            ["reset", var code] => stream.Reset(int.Parse(code, CultureInfo.InvariantCulture)),
            ["goaway", "below"] => RawHttp2Stream.GoAwayAt(0, 0),
            ["goaway", var code] => RawHttp2Stream.GoAwayAt(stream.Id, int.Parse(code, CultureInfo.InvariantCulture)),
            _ => [],
        };
        await stream.SendAsync([stream.Head, .. frames, last]);
        if (words[0] is "goaway" or "fin")
            stream.CloseConnection();
        if (words[0] == "rst")
            stream.ResetConnection();
    }

    /// <summary>A client that writes (its SETTINGS) into a connection that is reset does not read what came
    /// before the reset. It then asks again, as nothing had arrived.</summary>
    private static void AssertOneRequest(RawHttp2Server server, string end) =>
        Assert.InRange(server.Requests, 1, end == "rst" ? 2 : 1);

    private static async Task<(BackendResult Result, RecordingSink Sink)> AskAsync(
        RawHttp2Server server, string prompt = "Hello")
    {
        using var backend = Backend(server);
        var sink = new RecordingSink();
        var result = await backend.StreamAsync(BackendUnderTest.Prompt with { Prompt = prompt }, sink, default)
            .WithinLimit();
        return (result, sink);
    }

    private static OpenAIBackend Backend(RawHttp2Server server) => BackendUnderTest.WithoutBackoff(OptionsFor(server));

    private static OpenAIOptions OptionsFor(RawHttp2Server server) => new()
    {
        ApiKey = BackendUnderTest.ApiKey,
        ApiBase = server.BaseAddress,
        Http2Enabled = true,
    };
}
