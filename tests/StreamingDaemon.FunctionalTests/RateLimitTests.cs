using System.Net.Sockets;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Users at their own limits: <c>[rate_limit]</c>.</summary>
[Trait("Quick", "Yes")]
public sealed class RateLimitTests
{
    private static readonly string[] s_slow = ["--delay", "60000"];

    [Fact]
    public async Task User_over_the_requests_of_a_window_reads_a_429_with_retry_after_and_others_do_not()
    {
        await using var daemon = await StartAsync("requests = 2\nwindow_s = 600", "--delay", "0");

        for (var i = 0; i < 2; i++)
            Assert.True((await daemon.AskAsync("""{"user_id":7}""")).IsDone);
        var refused = await daemon.AskAsync("""{"user_id":7,"request_id":"r-3"}""");

        Assert.Equal("HTTP/1.1 429 Too Many Requests", refused.StatusLine);
        Assert.InRange(RetryAfter(refused), 1, 600);
        var error = JsonDocument.Parse(refused.Body).RootElement.GetProperty("error");
        Assert.Equal("r-3", error.GetProperty("request_id").GetString());
        Assert.Equal("rate_limited", error.GetProperty("code").GetString());
        Assert.True((await daemon.AskAsync("""{"user_id":8}""")).IsDone);
        var log = await daemon.AccessLogAsync(4);
        Assert.Equal(["Completed", "Completed", "Completed", "RateLimited"],
            log.Select(line => line.GetProperty("Outcome").GetString()).Order(StringComparer.Ordinal));
        Assert.Contains("""streaming_daemon_streams_total{backend="mock",outcome="RateLimited"} 1""",
            await daemon.MetricsAsync(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task User_over_the_concurrent_streams_reads_a_429_until_one_of_them_has_ended()
    {
        await using var daemon = await StartAsync("concurrent_streams = 2", s_slow);
        using var first = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}""");
        using var second = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}""");
        await TestClient.ReadUntilAsync(first, "\n\n");
        await TestClient.ReadUntilAsync(second, "\n\n");

        var refused = await daemon.AskAsync("""{"user_id":7}""");
        Assert.Equal("HTTP/1.1 429 Too Many Requests", refused.StatusLine);
        // Nobody knows when one of them ends.
        Assert.DoesNotContain("Retry-After", refused.Head, StringComparison.Ordinal);
        Assert.Contains("\"code\":\"too_many_streams\"", refused.Body, StringComparison.Ordinal);

        // The client leaves; once its stream has ended, there is room again.
        first.Dispose();
        await daemon.AccessLogAsync(2);
        using var third = TestClient.HandOver(daemon.SocketPath, """{"user_id":7}""");
        Assert.StartsWith("HTTP/1.1 200 OK", await TestClient.ReadUntilAsync(third, "\n\n"),
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Handoffs_without_a_usable_user_share_a_limit_of_their_own()
    {
        await using var daemon = await StartAsync("requests = 2\nwindow_s = 600", "--delay", "0");
        string[] nobody = ["{}", """{"user_id":{}}""", """{"user_id":""}""", """{"user_id":null}"""];

        for (var i = 0; i < nobody.Length; i++)
            Assert.Equal(i < 2, (await daemon.AskAsync(nobody[i])).IsDone);
        Assert.True((await daemon.AskAsync("""{"user_id":0}""")).IsDone);

        var users = (await daemon.AccessLogAsync(5)).Select(line => line.GetProperty("UserId").ToString());
        Assert.Equal(["", "", "", "", "0"], users.Order(StringComparer.Ordinal));
    }

    [Theory]
    [InlineData("\"0b9d4f1e-6c0e-4d0b-9a55-3d1c2f4b5a6d\"", "\"1b9d4f1e-6c0e-4d0b-9a55-3d1c2f4b5a6d\"")]
    [InlineData("\"ann\"", "\"Ann\"")]
    [InlineData("0", "\"zero\"")]
    public async Task User_of_any_name_is_limited_and_logged_like_a_number(string user, string other)
    {
        await using var daemon = await StartAsync("requests = 1\nwindow_s = 600", "--delay", "0");

        Assert.True((await daemon.AskAsync($$"""{"user_id":{{user}}}""")).IsDone);
        Assert.Equal("HTTP/1.1 429 Too Many Requests", (await daemon.AskAsync($$"""{"user_id":{{user}}}""")).StatusLine);
        Assert.True((await daemon.AskAsync($$"""{"user_id":{{other}}}""")).IsDone);

        var users = (await daemon.AccessLogAsync(3)).Select(line => line.GetProperty("UserId").GetRawText());
        Assert.Equal([user, user, other], users);
        Assert.Empty(daemon.LogLines("ignored unusable"));
    }

    [Fact]
    public async Task Handoff_that_is_refused_for_itself_takes_nothing_of_its_users_limit()
    {
        await using var daemon = await StartAsync("requests = 1", "--delay", "0");

        Assert.StartsWith("HTTP/1.1 400", (await daemon.AskAsync("""{"user_id":7""")).StatusLine,
            StringComparison.Ordinal);
        Assert.True((await daemon.AskAsync("""{"user_id":7}""")).IsDone);
    }

    private static int RetryAfter(Answer answer) => int.Parse(
        answer.Head.Split("Retry-After: ")[1].Split("\r\n")[0], System.Globalization.CultureInfo.InvariantCulture);

    private static async Task<DaemonProcess> StartAsync(string limits, params string[] arguments)
    {
        using var directory = new TempDirectory();
        var file = directory.File("limits.toml");
        await File.WriteAllTextAsync(file, $"[rate_limit]\n{limits}\n");
        return await DaemonProcess.StartAsync(["--config", file, .. arguments]);
    }
}
