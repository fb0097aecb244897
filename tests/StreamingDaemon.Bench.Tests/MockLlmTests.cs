using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Bench.Report;
using StreamingDaemon.MockLlm;
using Xunit;

namespace StreamingDaemon.Bench.Tests;

public sealed class MockLlmTests
{
    private static readonly MockLlmOptions s_options = new(Port: 0, IsTls: false, HttpVersion: 2, Chunks: 3,
        DelayMs: 1, FirstDelayMs: 1, TextBytes: 0, MaxStreams: 100);

    [Theory]
    [InlineData(false, 1, "1.1")]
    [InlineData(false, 2, "2.0")]
    [InlineData(true, 1, "1.1")]
    [InlineData(true, 2, "2.0")]
    public async Task Each_version_of_HTTP_streams_the_same_answer(bool tls, int version, string used)
    {
        await using var server = new MockLlmServer(s_options with { IsTls = tls, HttpVersion = version });
        await server.StartAsync();
        using var client = Client(version);

        using var content = new StringContent("{\"stream\":true}");
        using var response = await client.PostAsync(new Uri($"{server.BaseAddress}/chat/completions"), content);

        Assert.Equal(Version.Parse(used), response.Version);
        Assert.Equal("text/event-stream", response.Content.Headers.ContentType?.MediaType);
        Assert.Equal(Script(3, 0), await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Answers_and_prompts_of_more_than_a_window_arrive_whole_beside_each_other(bool tls)
    {
        const int textBytes = 200_000;
        await using var server = new MockLlmServer(
            s_options with { IsTls = tls, TextBytes = textBytes, MaxStreams = 8 });
        await server.StartAsync();
        using var client = Client(2);
        var prompt = new string('x', 300_000);
        async Task<string> AskAsync()
        {
            using var content = new StringContent(prompt);
            using var response =
                await client.PostAsync(new Uri($"{server.BaseAddress}/chat/completions"), content);
            return await response.Content.ReadAsStringAsync();
        }

        var answers = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => AskAsync()))
            .WaitAsync(TimeSpan.FromSeconds(30));

        Assert.All(answers, answer => Assert.Equal(Script(3, textBytes), answer));
    }

    [Fact]
    public async Task A_stream_that_the_client_resets_leaves_the_others_alone()
    {
        await using var server = new MockLlmServer(s_options with { Chunks = 50, DelayMs = 10 });
        await server.StartAsync();
        using var client = Client(2);
        var address = new Uri($"{server.BaseAddress}/chat/completions");
        using var content = new StringContent("{}");
        using var other = new StringContent("{}");
        var whole = client.PostAsync(address, content);
        using var request = new HttpRequestMessage(HttpMethod.Post, address)
        { Content = other, Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        using (var left = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead))
        {
            await using var body = await left.Content.ReadAsStreamAsync();
            Assert.NotEqual(0, await body.ReadAsync(new byte[1]));
        }

        using var response = await whole;
        Assert.Equal(Script(50, 0), await response.Content.ReadAsStringAsync());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task A_server_that_reads_requests_answers_by_path_and_counts(int version)
    {
        await using var server =
            new MockLlmServer(s_options with { HttpVersion = version, ReadsRequests = true });
        await server.StartAsync();
        using var client = Client(version);
        var address = new Uri(server.BaseAddress);
        using var content = new StringContent("{}");
        using var answer = await client.PostAsync(new Uri($"{address}/chat/completions"), content);

        Assert.Equal(Script(3, 0), await answer.Content.ReadAsStringAsync());
        Assert.Equal("""{"status":"ok"}""", await client.GetStringAsync(new Uri(address, "/health")));
        Assert.Equal("""{"total_requests":1}""", await client.GetStringAsync(new Uri(address, "/stats")));
        using var reset = await client.PostAsync(new Uri(address, "/stats/reset"), null);
        Assert.Equal("""{"total_requests":0}""", await client.GetStringAsync(new Uri(address, "/stats")));
        Assert.Contains("\"id\":\"mock\"", await client.GetStringAsync(new Uri($"{address}/models")),
            StringComparison.Ordinal);
        using var other = await client.GetAsync(new Uri(address, "/other"));
        Assert.Equal(HttpStatusCode.NotFound, other.StatusCode);
    }

    [Theory]
    [InlineData("unicode", 35, "stop")]
    [InlineData("short", 49, "stop")]
    [InlineData("long", 3, "stop")]
    [InlineData("finish:length", 6, "length")]
    [InlineData("finish:", 6, "stop")]
    [InlineData("abort:7", 7, null)]
    [InlineData("abort:x", 5, null)]
    [InlineData("of nobody", 3, "stop")]
    public async Task A_test_pattern_is_answered_as_asked_for(string name, int chunks, string? finish)
    {
        await using var server =
            new MockLlmServer(s_options with { ReadsRequests = true, DelayMs = 0 });
        await server.StartAsync();
        using var client = Client(2);
        client.DefaultRequestHeaders.Add("X-Test-Pattern", name);
        using var content = new StringContent("{}");

        using var response = await client.PostAsync(new Uri($"{server.BaseAddress}/chat/completions"), content);

        var answer = await response.Content.ReadAsStringAsync();
        Assert.Equal(name, response.Headers.GetValues("X-Test-Pattern-Applied").Single());
        Assert.Equal(chunks, answer.Split("\"content\":").Length - 1);
        Assert.Equal(finish is not null, answer.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal));
        Assert.Equal(finish is not null,
            answer.Contains($"\"finish_reason\":\"{finish}\"", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task A_Unix_socket_that_anyone_may_use_is_served_and_taken_away(bool reads)
    {
        var path = Path.Combine(Path.GetTempPath(), $"mock-llm-{Guid.NewGuid():n}");
        await using (var server = new MockLlmServer(s_options with { Socket = path, ReadsRequests = reads }))
        {
            await server.StartAsync();
            using var client = Client(2, path);
            using var content = new StringContent("{}");

            using var response =
                await client.PostAsync(new Uri($"{server.BaseAddress}/chat/completions"), content);

            Assert.Equal(Script(3, 0), await response.Content.ReadAsStringAsync());
            Assert.Equal("rw-rw-rw-", Mode(path));
        }

        Assert.False(File.Exists(path));
    }

    [Fact]
    public async Task What_it_used_is_told_on_request()
    {
        await using var server = new MockLlmServer(s_options);
        await server.StartAsync();
        using var client = Client(2);
        using var content = new StringContent("{}");
        using var _ = await client.PostAsync(new Uri($"{server.BaseAddress}/chat/completions"), content);

        var report = await client.GetStringAsync(new Uri(new Uri(server.BaseAddress), "/cpu"));

        Assert.Matches(@"^requests=1 user_seconds=\d+\.\d{3} system_seconds=\d+\.\d{3} "
            + @"collections=\d+,\d+,\d+ pause_seconds=\d+\.\d{3}\n$", report);
    }

    [Fact]
    public void Chunks_have_the_size_that_was_asked_for()
    {
        var events = Script(2, 100).Split("\n\n", StringSplitOptions.RemoveEmptyEntries);

        Assert.Equal(4, events.Length);
        using var chunk = System.Text.Json.JsonDocument.Parse(events[0]["data: ".Length..]);
        var choice = chunk.RootElement.GetProperty("choices")[0];
        Assert.Equal(100, choice.GetProperty("delta").GetProperty("content").GetString()!.Length);
        Assert.Contains("\"finish_reason\":\"stop\"", events[2], StringComparison.Ordinal);
        Assert.Equal("data: [DONE]", events[3]);
    }

    [Fact]
    public async Task Many_streams_wait_on_one_wheel_and_none_is_forgotten()
    {
        var wheel = new PaceWheel();
        async Task<int> PlayAsync(int stream)
        {
            var pace = new StreamPace(wheel);
            for (var i = 0; i < 20; i++)
                await pace.WaitAsync(1 + (stream + i) % 7);
            return 1;
        }

        var ended = await Task.WhenAll(Enumerable.Range(0, 2_000).Select(PlayAsync))
            .WaitAsync(TimeSpan.FromSeconds(30));

        Assert.Equal(2_000, ended.Sum());
    }

    [Fact]
    public async Task A_pause_of_more_than_a_turn_of_the_wheel_does_not_end_early()
    {
        var wheel = new PaceWheel();
        var pace = new StreamPace(wheel);
        var begun = wheel.Now;
        await pace.WaitAsync(1_500);

        Assert.True(wheel.Now - begun >= 1_500);
    }

    [Fact]
    public async Task A_stream_that_is_late_does_not_wait_for_the_wheels_next_turn()
    {
        var wheel = new PaceWheel();
        var late = new StreamPace(wheel);
        // The wheel has passed the late one's moment when this one's has come.
        await new StreamPace(wheel).WaitAsync(30);

        Assert.True(late.WaitAsync(1).AsTask().IsCompletedSuccessfully);
    }

    [Fact]
    public void A_plot_is_an_XML_document_whatever_the_daemons_are_called()
    {
        var plot = new SvgPlot("A & <B>", PlotAxis.Percentiles, PlotAxis.Logarithmic("ms", 0.1, 1_000),
            [new PlotSeries("\"<daemon> & co\"", [(0, 0.1), (99.99, 1_000)])]);

        var document = System.Xml.Linq.XDocument.Parse(plot.Draw());

        Assert.Equal("svg", document.Root!.Name.LocalName);
        var line = document.Root.Elements().Single(e => e.Name.LocalName == "polyline");
        Assert.Equal("70,410 630,40", line.Attribute("points")!.Value);
    }

    private static string Script(int chunks, int textBytes) =>
        string.Concat(new ChunkScript(chunks, textBytes).Pieces.Select(p => Encoding.UTF8.GetString(p.Span)));

    [SuppressMessage("Security", "CA5359", Justification = "The mock's certificate is its own.")]
    private static HttpClient Client(int version, string? socketPath = null)
    {
        var handler = new SocketsHttpHandler();
        if (socketPath is not null)
        {
            handler.ConnectCallback = async (_, token) =>
            {
                var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
                await socket.ConnectAsync(new UnixDomainSocketEndPoint(socketPath), token);
                return new NetworkStream(socket, ownsSocket: true);
            };
        }

        handler.SslOptions.RemoteCertificateValidationCallback = (_, _, _, _) => true;
        return new HttpClient(handler)
        {
            DefaultRequestVersion = version == 2 ? HttpVersion.Version20 : HttpVersion.Version11,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
    }

    private static string Mode(string path)
    {
        var mode = (int)File.GetUnixFileMode(path);
        return string.Concat(Enumerable.Range(0, 9).Select(i => (mode & 0x100 >> i) == 0 ? '-' : "rwx"[i % 3]));
    }
}
