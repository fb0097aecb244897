using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The promises of SECURITY.md, for a daemon that gets what an attacker would send through a site.
/// </summary>
[Trait("Takes", "Long")]
public sealed partial class SecurityTests : IDisposable
{
    private const string Key = "sk-secret-of-the-test";
    private const string Prompt = "my-private-diagnosis";
    private const string Reply = "your-private-answer";
    private const int Sigterm = 15;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    /// <summary>Faulty upstreams: each repeats the prompt and the key in its answer.</summary>
    public static TheoryData<string> Moods => ["whole", "quoting 401", "error in the stream", "malformed", "reset"];

    [Theory, MemberData(nameof(Moods))]
    public async Task Key_prompt_and_answer_are_in_nothing_that_the_daemon_prints_or_serves(string mood)
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = exchange => AnswerAsync(exchange, mood);
        await using var daemon = await DaemonProcess.StartAsync(
            upstream.OpenAIEnvironment(false).Append(new("STREAMING_DAEMON_LOGGING__LEVEL", "debug")).ToDictionary(),
            true, "--backend", "openai");

        using var client = TestClient.HandOver(daemon.SocketPath,
            $$"""{"prompt":"{{Prompt}}","system":"{{Prompt}}","messages":[{"content":"{{Prompt}}"}]}""");
        var begun = "";
        if (mood == "reset")
        {
            begun = await TestClient.ReadUntilAsync(client, Reply);
            (await upstream.NextRequestAsync(TestClient.Patience)).Proceed();
        }

        var answer = begun + await TestClient.ReadTextAsync(client);
        Assert.Equal(mood == "whole" ? "Completed" : "UpstreamError", await daemon.OutcomeAsync());
        var printed = await daemon.MetricsAsync() + (await daemon.HealthAsync()).Body;
        daemon.Signal(Sigterm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        printed += daemon.ErrorText + daemon.OutputText;

        Assert.Contains("streaming_daemon_", printed, StringComparison.Ordinal);
        Assert.All([Key, Prompt, Reply], secret => Assert.DoesNotContain(secret, printed, StringComparison.Ordinal));
        // The client gets the answer's text, but nothing of the upstream's error messages.
        Assert.Equal(mood is "whole" or "reset" or "malformed",
            answer.Contains(Reply, StringComparison.Ordinal));
        Assert.All([Key, Prompt], secret => Assert.DoesNotContain(secret, answer, StringComparison.Ordinal));
    }

    private static async Task AnswerAsync(FakeLlmExchange exchange, string mood)
    {
        const string error = $$$"""{"error":{"message":"{{{Key}}} may not ask {{{Prompt}}}","type":"auth"}}""";
        if (mood == "quoting 401")
        {
            await exchange.RespondAsync(401, "application/json", error);
            return;
        }

        await exchange.StartAsync();
        if (mood == "error in the stream")
        {
            await exchange.SendRawAsync($"data: {error}\n\n");
            return;
        }

        await exchange.SendDeltaAsync(Reply);
        if (mood == "malformed")
        {
            await exchange.SendRawAsync($"data: {{{Key} {Prompt}\n\n");
        }
        else if (mood == "whole")
        {
            await exchange.SendDoneAsync();
        }
        else
        {
            // Wait, because a reset may overtake the data sent before it.
            await exchange.Proceed;
            exchange.Reset();
        }
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Daemon_that_ends_for_a_fault_of_its_own_prints_neither_key_nor_prompt_nor_answer()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            await exchange.SendDeltaAsync(Reply);
            await exchange.WaitForAbortAsync(TestClient.Patience);
        };
        await using var daemon = await DaemonProcess.StartAsync(
            upstream.OpenAIEnvironment(false).Append(new("STREAMING_DAEMON_LOGGING__LEVEL", "debug")).ToDictionary(),
            true, "--backend", "openai");
        using var client = TestClient.HandOver(daemon.SocketPath, $$"""{"prompt":"{{Prompt}}"}""");
        await TestClient.ReadUntilAsync(client, Reply);

        await FailedCall.OfLoopAsync(_directory, daemon.Pid);

        // All clients are closed, and the reason is logged once.
        Assert.DoesNotContain("[DONE]", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        Assert.Equal(1, await daemon.ExitCodeAsync());
        var line = JsonDocument.Parse(Assert.Single(daemon.LogLines("\"@l\":\"Fatal\""))).RootElement;
        Assert.Equal("the handoff loop failed", line.GetProperty("@m").GetString());
        Assert.Contains("io_uring_enter: Invalid argument (errno 22)", line.GetProperty("@x").GetString(),
            StringComparison.Ordinal);
        Assert.False(File.Exists(daemon.SocketPath));
        var printed = daemon.ErrorText + daemon.OutputText;
        Assert.All([Key, Prompt, Reply], secret => Assert.DoesNotContain(secret, printed, StringComparison.Ordinal));
    }

    [Fact]
    public async Task Values_that_a_site_passes_on_make_no_new_series_of_metrics()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        _ = await daemon.AskAsync("{}");
        _ = await daemon.AskAsync("{");
        var before = Series(await AfterAsync(2));

        for (var i = 0; i < 20; i++)
        {
            _ = await daemon.AskAsync($$"""
                {"user_id":{{i}},"request_id":"r{{i}}","model":"m{{i}}","backend":"b{{i}}","test_pattern":"p{{i}}",
                 "response_headers":{"X-{{i}}":"1"},"x{{i}}":1}
                """);
        }

        Assert.Equal(before, Series(await AfterAsync(22)));

        async Task<string> AfterAsync(int streams)
        {
            await daemon.AccessLogAsync(streams);
            return await daemon.MetricsAsync();
        }
    }

    [Fact]
    public async Task Forged_values_make_no_lines_of_their_own_in_a_text_log()
    {
        await using var daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_LOGGING__FORMAT"] = "text" }, true, "--delay", "0");
        const string forged = "x\\r\\n2026-01-01T12:00:00.000Z INF stream Completed\\u001b[31m\\u0085\\u2028\\u202e\\u007fü";

        _ = await daemon.AskAsync(
            $$"""{"request_id":"{{forged}}","model":"{{forged}}","backend":"{{forged}}","test_pattern":"{{forged}}"}""");

        await Eventually.TrueAsync(() => daemon.LogLines("bytes=").Count == 1);
        var lines = daemon.ErrorText.Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.All(lines, line => Assert.Matches(TextLine(), line));
        Assert.DoesNotContain(lines, line => line.Any(c => char.IsControl(c) || c is '\u2028' or '\u202e'));
        Assert.Single(lines, line => line.Contains("INF stream Completed request_id=", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Handoff_cannot_point_the_daemon_at_another_upstream_or_key()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var other = await FakeLlmServer.StartAsync();
        await using var daemon = await upstream.StartDaemonAsync();

        var answer = await daemon.AskAsync(JsonSerializer.Serialize(new Dictionary<string, object>
        {
            ["prompt"] = "hi",
            ["backend_url"] = other.BaseAddress,
            ["api_base"] = other.BaseAddress,
            ["base_url"] = other.BaseAddress,
            ["url"] = other.BaseAddress,
            ["api_key"] = "sk-other",
            ["headers"] = new { Authorization = "Bearer sk-other", Host = "other" },
            ["model"] = $"x\r\nHost: other",
            ["test_pattern"] = "a\r\nX-Injected: 1",
            ["request_id"] = "b\r\nX-Injected: 1",
        }));

        Assert.True(answer.IsDone);
        Assert.Empty(other.Requests);
        var asked = Assert.Single(upstream.Requests);
        Assert.Equal($"Bearer {Key}", asked.Headers["Authorization"]);
        Assert.DoesNotContain("X-Injected", asked.Headers.Keys);
    }

    [Theory]
    [InlineData("symlink to a file")]
    [InlineData("symlink to nothing")]
    [InlineData("directory")]
    [InlineData("fifo")]
    public async Task What_stands_at_the_sockets_path_and_is_no_socket_is_left_as_it_is(string what)
    {
        var path = _directory.File("s");
        var target = _directory.File("target");
        if (what == "directory")
            Directory.CreateDirectory(path);
        else if (what == "fifo")
            Assert.Equal(0, Posix.MakeFifo(path));
        else
            File.CreateSymbolicLink(path, target);
        if (what == "symlink to a file")
            await File.WriteAllTextAsync(target, "mine");

        var (exitCode, _, error) = await DaemonProcess.RunAsync("--socket", path);

        Assert.Equal(1, exitCode);
        Assert.Contains($"{path}: exists and is no socket", error, StringComparison.Ordinal);
        Assert.True(what == "directory" ? Directory.Exists(path)
            : what == "fifo" ? File.Exists(path) : File.ResolveLinkTarget(path, false) is not null);
        Assert.Equal(what == "symlink to a file" ? "mine" : null, File.Exists(target)
            ? await File.ReadAllTextAsync(target) : null);
    }

    [Theory]
    [InlineData(107, 0)]
    [InlineData(108, 2)]
    public async Task Path_longer_than_a_sockets_address_ends_the_start_with_the_numbers(int bytes, int exitCode)
    {
        var path = _directory.File("s");
        path += new string('s', bytes - path.Length);
        using var process = System.Diagnostics.Process.Start(DaemonProcess.StartInfo(null, _directory.Path, ["--socket", path]))!;
        var error = process.StandardError.ReadToEndAsync();

        if (exitCode == 0)
        {
            await Eventually.TrueAsync(() => File.Exists(path));
            Posix.Kill(process.Id, Sigterm);
        }

        await process.WaitForExitAsync().WaitAsync(TestClient.Patience);
        Assert.Equal(exitCode, process.ExitCode);
        if (exitCode != 0)
            Assert.Contains("at most 107 bytes", await error, StringComparison.Ordinal);
        Assert.False(File.Exists(path));
    }

    [Theory]
    [InlineData(10_000, 0)]
    [InlineData(0, 200_000 / 13)]
    public async Task Bomb_of_a_handoff_is_answered_and_the_next_one_served(int depth, int keys)
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        var bomb = depth > 0
            ? string.Concat("{\"x\":", new string('[', depth), new string(']', depth), "}")
            : "{" + string.Join(",", Enumerable.Range(0, keys).Select(i => $"\"k{i:00000}\":{i % 10}")) + "}";

        var answer = await daemon.AskAsync(bomb);

        Assert.StartsWith(depth > 0 ? "HTTP/1.1 400" : "HTTP/1.1 200", answer.StatusLine, StringComparison.Ordinal);
        Assert.True((await daemon.AskAsync("{}")).IsDone);
    }

    [Theory]
    [InlineData(42_591, "seqpacket", Posix.SockSeqPacket, "HTTP/1.1 200 OK")]
    [InlineData(42_592, "seqpacket", Posix.SockSeqPacket, null)]
    [InlineData(42_591, "stream", Posix.SockStream, "HTTP/1.1 200 OK")]
    [InlineData(42_592, "stream", Posix.SockStream, "HTTP/1.1 413 Content Too Large")]
    [InlineData(200_000, "seqpacket", Posix.SockSeqPacket, null)]
    [InlineData(200_000, "stream", Posix.SockStream, "HTTP/1.1 413 Content Too Large")]
    public async Task Handoff_of_the_most_keys_that_fit_is_served_and_of_200_000_a_413_or_never_sent(
        int keys, string kind, int type, string? status)
    {
        const int tooLong = 90; // EMSGSIZE
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--socket-type", kind);
        // The smallest field has five bytes, with its comma.
        var data = Encoding.UTF8.GetBytes("{" + string.Join(",", Enumerable.Repeat("\"\":0", keys)) + "}");

        if (status is null)
        {
            var error = Assert.Throws<PosixException>(() => TestClient.HandOver(daemon.SocketPath, data, type));
            Assert.Equal(tooLong, error.Errno);
        }
        else
        {
            using var client = TestClient.HandOver(daemon.SocketPath, data, type);
            Assert.Equal(status, Answer.Parse(await TestClient.ReadToEndAsync(client)).StatusLine);
        }

        using var next = TestClient.HandOver(daemon.SocketPath, "{}", type);
        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(next)).IsDone);
    }

    [Theory]
    [InlineData("", "handoff dropped: NoDescriptor")]
    [InlineData("{", "stream BadHandoff")]
    [InlineData("""{"user_id":[]}""", "ignored unusable handoff fields")]
    [InlineData("""{"backend":"none"}""", "backend is not configured")]
    public async Task Handoffs_that_are_worth_a_warning_fill_no_log_and_are_counted_to_the_last(
        string data, string kind)
    {
        const int handoffs = 500;
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        for (var i = 0; i < handoffs; i++)
        {
            if (data.Length > 0)
            {
                _ = await daemon.AskAsync(data);
                continue;
            }

            var connection = Posix.ConnectUnix(daemon.SocketPath, Posix.SockSeqPacket);
            _ = Posix.SendDescriptors(connection, "{}"u8);
            Posix.Close(connection);
        }

        await Eventually.TrueAsync(() => daemon.MetricsAsync().Result.Split('\n')
            .Where(l => l.StartsWith("streaming_daemon_streams_total{", StringComparison.Ordinal))
            .Sum(l => int.Parse(l.Split(' ')[1], CultureInfo.InvariantCulture)) == handoffs);
        daemon.Signal(Sigterm);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        var lines = daemon.LogLines("\"@l\":\"Warning\"").Select(l => JsonDocument.Parse(l).RootElement).ToList();
        var counts = lines.Where(l => l.TryGetProperty("Kind", out var value) && value.GetString() == kind).ToList();
        Assert.InRange(lines.Count, 2, 20);
        Assert.Equal(handoffs, lines.Count - counts.Count + counts.Sum(l => l.GetProperty("Count").GetInt32()));
    }

    private static List<string> Series(string metrics) =>
        [.. metrics.Split('\n').Where(l => l.StartsWith("streaming_daemon_", StringComparison.Ordinal))
            .Select(l => l[..l.LastIndexOf(' ')]).Order(StringComparer.Ordinal)];

    [GeneratedRegex(@"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (INF|WRN) ")]
    private static partial Regex TextLine();
}
