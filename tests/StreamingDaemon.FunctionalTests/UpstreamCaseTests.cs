using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A daemon for cases of the corpus, and its upstream.</summary>
internal sealed class UpstreamCaseDaemon : IAsyncDisposable
{
    private IAsyncDisposable _upstream = null!;

    public DaemonProcess Daemon { get; private set; } = null!;

    public static async Task<UpstreamCaseDaemon> StartAsync(bool http2)
    {
        var one = new UpstreamCaseDaemon();
        Uri address;
        if (http2)
        {
            var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
            upstream.Scenario = UpstreamCaseServer.PlayAsync;
            (one._upstream, address) = (upstream, upstream.BaseAddress);
        }
        else
        {
            var upstream = new UpstreamCaseServer();
            (one._upstream, address) = (upstream, upstream.BaseAddress);
        }
        one.Daemon = await DaemonProcess.StartAsync(
            new Dictionary<string, string>
            {
                ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
                ["OPENAI_API_BASE"] = address.ToString(),
                ["OPENAI_HTTP2_ENABLED"] = http2 ? "true" : "false",
                ["OPENAI_MAX_RETRIES"] = "0",
                // Long, so that on a slow machine a fault is still a status and not an event.
                ["STREAMING_DAEMON_STREAMING__HEAD_WAIT_MS"] = "20000",
            },
            true, "--backend", "openai");
        return one;
    }

    public async ValueTask DisposeAsync()
    {
        await Daemon.DisposeAsync();
        await _upstream.DisposeAsync();
    }
}

/// <summary>Plays all cases of one HTTP version as soon as one is asked for. A case waits most of its time, so
/// several daemons play; each has one case at a time, which alone moves its metrics.</summary>
public sealed class UpstreamCasePlayers : IAsyncDisposable
{
    private const int Daemons = 4;

    private readonly Dictionary<(string Name, bool Http2), TaskCompletionSource> _played = [];
    private readonly List<Task> _players = [];

    /// <summary>Ends as the check of this case did.</summary>
    internal Task PlayedAsync(
        string name, IEnumerable<string> all, bool http2, Func<UpstreamCase, DaemonProcess, Task> checkAsync)
    {
        if (!_played.ContainsKey((name, http2)))
        {
            string[] names = [.. all];
            foreach (var one in names)
                _played.Add((one, http2), new(TaskCreationOptions.RunContinuationsAsynchronously));
            for (var player = 0; player < Daemons; player++)
            {
                var first = player;
                _players.Add(PlayAsync([.. names.Where((_, at) => at % Daemons == first)], http2, checkAsync));
            }
        }
        return _played[(name, http2)].Task;
    }

    public async ValueTask DisposeAsync() => await Task.WhenAll(_players);

    private async Task PlayAsync(
        IReadOnlyList<string> names, bool http2, Func<UpstreamCase, DaemonProcess, Task> checkAsync)
    {
        try
        {
            await using var daemon = await UpstreamCaseDaemon.StartAsync(http2);
            foreach (var name in names)
            {
                try
                {
                    await checkAsync(UpstreamCase.Named(name), daemon.Daemon);
                    _played[(name, http2)].SetResult();
                }
#pragma warning disable CA1031 // The test of the case throws it.
                catch (Exception exception)
#pragma warning restore CA1031
                {
                    _played[(name, http2)].SetException(exception);
                }
            }
        }
#pragma warning disable CA1031 // The tests of all its cases throw it.
        catch (Exception exception)
#pragma warning restore CA1031
        {
            foreach (var name in names)
                _played[(name, http2)].TrySetException(exception);
        }
    }
}

/// <summary>The corpus of what upstreams send: what the browser reads, the log says and the metrics count.
/// </summary>
public sealed class UpstreamCaseTests(UpstreamCasePlayers players) : IClassFixture<UpstreamCasePlayers>
{
    private static readonly string[] s_http1 =
        [.. UpstreamCase.All.Where(one => one.Wanted is null).Select(one => one.Name)];

    private static readonly string[] s_http2 =
        [.. UpstreamCase.All.Where(one => one.Wanted is null && one.IsForHttp2).Select(one => one.Name)];

    public static TheoryData<string> Http1Cases { get; } = [.. s_http1];

    public static TheoryData<string> Http2Cases { get; } = [.. s_http2];

    [Theory]
    [MemberData(nameof(Http1Cases))]
    public Task Case_over_HTTP_1_gives_the_reader_the_answer_or_the_truth(string name) =>
        players.PlayedAsync(name, s_http1, false, CheckAsync);

    [Theory]
    [MemberData(nameof(Http2Cases))]
    public Task Case_over_HTTP_2_gives_the_reader_the_answer_or_the_truth(string name) =>
        players.PlayedAsync(name, s_http2, true, CheckAsync);

    private static async Task CheckAsync(UpstreamCase one, DaemonProcess daemon)
    {
        var id = "case-" + one.Name;
        var before = await ErrorsAsync(daemon);

        var answer = await daemon.AskAsync(
            $$"""{"prompt":"hi","test_pattern":"{{one.Name}}","request_id":"{{id}}"}""");

        Assert.StartsWith($"HTTP/1.1 {one.Status} ", answer.StatusLine, StringComparison.Ordinal);
        if (one.RetryAfter is { } seconds)
            Assert.Equal(seconds, RetryAfterOf(answer));
        Assert.Equal(one.Texts, answer.Contents);
        Assert.Equal(one.Outcome == "Completed", answer.IsDone);
        Assert.Equal(one.Status == 200 && one.Outcome is "UpstreamError" or "UpstreamTimeout", answer.Error is not null);
        await Eventually.TrueAsync(() => daemon.LogLines($"\"{id}\"").Count == 1);
        var text = daemon.LogLines($"\"{id}\"")[0];
        using var line = JsonDocument.Parse(text);
        Assert.Equal(one.Outcome, line.RootElement.GetProperty("Outcome").GetString());
        Assert.Equal(one.Finish, line.RootElement.GetProperty("FinishReason").GetString());
        if (one.Log is { } word)
            Assert.Contains(word, line.RootElement.GetProperty("Reason").GetString(), StringComparison.Ordinal);
        Assert.DoesNotContain("sk-secret", daemon.ErrorText, StringComparison.Ordinal);
        await Eventually.TrueAsync(async () =>
        {
            var after = await ErrorsAsync(daemon);
            return after.All(metric => metric.Value - before[metric.Key] == (IsOf(metric.Key, one.Fault) ? 1 : 0));
        });
    }

    private static string RetryAfterOf(Answer answer) => answer.Head.Split("\r\n")
        .Where(line => line.StartsWith("Retry-After: ", StringComparison.OrdinalIgnoreCase))
        .Select(line => line["Retry-After: ".Length..]).SingleOrDefault("none");

    private static bool IsOf(string metric, string? fault) =>
        fault is not null && metric.Contains($"\"{fault}\"", StringComparison.Ordinal);

    private static async Task<Dictionary<string, double>> ErrorsAsync(DaemonProcess daemon) =>
        (await daemon.MetricValuesAsync())
            .Where(metric => metric.Key.StartsWith("streaming_daemon_upstream_errors_total", StringComparison.Ordinal))
            .ToDictionary();
}
