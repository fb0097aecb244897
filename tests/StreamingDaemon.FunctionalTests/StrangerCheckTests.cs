using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary><c>check</c> asks servers that are hostile, or not what the configuration calls them. It ends with a
/// report, in bounded time, and repeats no secret.</summary>
[Trait("Takes", "Long")]
public sealed class StrangerCheckTests
{
    private const string Key = "sk-MARKER0123456789abcdef";
    private const string Ok = "HTTP/1.1 200 OK\r\n";
    private const string Json = Ok + "Content-Type: application/json\r\n\r\n";
    private const string Sse = Ok + "Content-Type: text/event-stream\r\n\r\n";
    private const string Commands = "\u001b[2J\u001b]0;title\u0007\u009b1m";

    public static TheoryData<string, string, string, int> Answers
    {
        get
        {
            var all = new TheoryData<string, string, string, int>
            {
                { "an event without end", Sse + "data: ", new('x', 65536), 0 },
                { "comments without end", Sse, string.Concat(Enumerable.Repeat(": \n\n", 1000)), 0 },
                { "events without text and end", Sse, string.Concat(Enumerable.Repeat("data: {}\n\n", 1000)), 0 },
                { "an event now and then", Sse, ": \n\n", 100 },
                { "an event of one open bracket after the other", Sse + "data: " + new string('[', 100_000) + "\n\n", "", 0 },
                { "early hints without end", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 0 },
                { "early hints now and then", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", 100 },
                { "the key", $"HTTP/1.1 401 {Key}\r\nServer: {Key}\r\nConnection: close\r\n\r\n{{\"error\":{{\"code\":\"{Key}\",\"message\":\"{Key}\"}}}}", "", 0 },
                { "the key under 200", Sse + $"data: {{\"error\":{{\"code\":\"{Key}\",\"message\":\"{Key}\"}}}}\n\n", "", 0 },
                { "commands for a terminal", $"HTTP/1.1 500 {Commands}\r\nServer: {Commands}\r\nx-ms-region: {Commands}\r\nConnection: close\r\n\r\n{Commands}", "", 0 },
                { "trailers without end", Ok + "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "X: y\r\n", 0 },
            };
            foreach (var row in StrangerTests.Answers)
                all.Add(row);
            return all;
        }
    }

    [Theory]
    [MemberData(nameof(Answers))]
    public async Task Check_of_a_strange_upstream_is_exit_1_and_one_failed_step(
        string kind, string first, string repeated, int pauseMs)
    {
        Assert.NotEmpty(kind);
        using var stranger = Stranger.OnPort(first, repeated, pauseMs);
        var environment = Environment();
        environment["OPENAI_API_BASE"] = $"http://127.0.0.1:{stranger.Port}/v1";
        environment["OPENAI_HTTP2_ENABLED"] = "false";

        var (exitCode, report) = await CheckAsync(environment, "--upstream", "--backend", "openai");

        Assert.Equal(1, exitCode);
        Assert.Single(report, check => check is { Failed: true } && check.Name.StartsWith("upstream", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Check_whose_time_is_up_while_it_asks_for_models_reports_what_it_found()
    {
        // The answer is refused at once. The list of models then has no end.
        using var stranger = Stranger.OnPort(Sse + "data: " + new string('[', 100_000) + "\n\n", holds: true);
        var environment = Environment();
        environment["OPENAI_API_BASE"] = $"http://127.0.0.1:{stranger.Port}/v1";
        environment["OPENAI_HTTP2_ENABLED"] = "false";

        var (exitCode, report) = await CheckAsync(environment, "--upstream", "--backend", "openai");

        Assert.Equal(1, exitCode);
        Assert.Contains(report, check => check is { Name: "upstream first token", Failed: true });
    }

    [Theory]
    [InlineData("\r\n", "what answers there is no Redis")]
    [InlineData("\n", "what answers there is no Redis")]
    [InlineData("  \r\n", "what answers there is no Redis")]
    [InlineData("\0\0\0", "what answers there is no Redis")]
    [InlineData("$99999999999999999\r\n", "what answers there is no Redis")]
    [InlineData("+PONG\r\n$1\r\nx\r\n", "Streams would go on")]
    [InlineData("-" + Commands + "\r\n", "Streams would go on")]
    [InlineData("-ERR wrong password '" + Key + "'\r\n", "it refuses, and repeats the password")]
    public async Task Check_of_a_strange_redis_is_a_warning(string answer, string said)
    {
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("password"), Key);
        using var stranger = Stranger.OnPort(answer);
        var environment = Environment();
        environment["STREAMING_DAEMON_ANSWERS__STORE"] = "redis";
        environment["STREAMING_DAEMON_ANSWERS__REDIS"] = $"127.0.0.1:{stranger.Port}";
        environment["STREAMING_DAEMON_ANSWERS__REDIS_PASSWORD_FILE"] = directory.File("password");

        var (_, report) = await CheckAsync(environment);

        Assert.Contains(said, Assert.Single(report, check => check.Name == "redis").Detail, StringComparison.Ordinal);
    }

    public static TheoryData<string, string, string> Sites => new()
    {
        { "a name without end", Json + "{\"checks\":[{\"name\":\"" + new string('n', 60_000) + "\",\"status\":\"ok\",\"detail\":\"\"}]}", "" },
        { "checks without end", Json + "{\"checks\":[{\"name\":\"" + new string('n', 30_000) + "\",\"status\":\"ok\",\"detail\":\"\"}"
            + string.Concat(Enumerable.Repeat(",{\"name\":\"a\",\"status\":\"ok\",\"detail\":\"\"}", 700)) + "]}", "" },
        { "commands for a terminal", Json + "{\"checks\":[{\"name\":\"\\u001b[2J\",\"status\":\"\\u0007\",\"detail\":\"\\u202e\\u009b\"}]}", "" },
        { "half a character", Json + "{\"checks\":[{\"name\":\"\\ud800\",\"status\":\"ok\",\"detail\":\"\"}]}", "" },
        { "a body that breaks off", Ok + "Content-Length: 100\r\n\r\nabc", "" },
        { "a chunk of no size", Ok + "Transfer-Encoding: chunked\r\n\r\n" + Commands + "\r\n", "" },
        { "a body without end", Json, new('x', 65536) },
        { "early hints without end", "", "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" },
    };

    [Theory]
    [MemberData(nameof(Sites))]
    public async Task Check_of_a_strange_site_is_exit_1_and_a_short_report(string kind, string first, string repeated)
    {
        Assert.NotEmpty(kind);
        using var stranger = Stranger.OnPort(first, repeated);
        string[] site = ["--apache", $"http://127.0.0.1:{stranger.Port}/doctor.php"];

        var (exitCode, report) = await CheckAsync(Environment(), site);
        var (_, table, _) = await DaemonProcess.RunAsync(Environment(), ["check", .. site]);

        Assert.Equal(1, exitCode);
        Assert.Contains(report, check => check is { Failed: true } && check.Name.StartsWith("apache", StringComparison.Ordinal));
        Assert.InRange(table.Length, 0, 64 * 1024);
        AssertIsHarmless(table);
    }

    private static Dictionary<string, string> Environment() => new()
    {
        ["OPENAI_API_KEY"] = Key,
        ["STREAMING_DAEMON_BACKEND__NAME"] = "mock",
        ["STREAMING_DAEMON_TIMEOUTS__CONNECT_TIMEOUT_MS"] = "500",
        ["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "1000",
        ["STREAMING_DAEMON_TIMEOUTS__IDLE_TIMEOUT_MS"] = "1000",
        ["STREAMING_DAEMON_TIMEOUTS__STREAM_TIMEOUT_MS"] = "2000",
    };

    private static async Task<(int ExitCode, List<(string Name, bool Failed, string Detail)> Report)> CheckAsync(
        Dictionary<string, string> environment, params string[] arguments)
    {
        var (exitCode, output, error) = await DaemonProcess.RunAsync(
            environment, ["check", "--json", "--socket", "/tmp/no-such-socket", .. arguments]);
        Assert.Equal("", error);
        AssertIsHarmless(output);
        using var report = JsonDocument.Parse(output);
        return (exitCode, [.. report.RootElement.GetProperty("checks").EnumerateArray().Select(check => (
            check.GetProperty("name").GetString()!, check.GetProperty("status").GetString() == "failed",
            check.GetProperty("detail").GetString()!))]);
    }

    private static void AssertIsHarmless(string text)
    {
        Assert.DoesNotContain("MARKER", text, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", text, StringComparison.Ordinal);
        Assert.DoesNotContain(text, c => c is '\u001b' or '\u0007' or '\u009b' or '\u202e');
        // In JSON, a control character is an escape.
        Assert.DoesNotContain("\\u001B", text, StringComparison.OrdinalIgnoreCase);
    }
}
