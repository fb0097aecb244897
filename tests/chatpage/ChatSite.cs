using System.Diagnostics;
using System.Net.Http;
using StreamingDaemon.ApacheTests;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>Who serves the page and hands the browser over.</summary>
public enum Front
{
    Apache,
    Demo,
    Tls,
}

/// <summary>The page's address, the daemon behind it, and the model's server behind that.</summary>
internal sealed class ChatSite : IAsyncDisposable
{
    private readonly Stack<Func<ValueTask>> _ends = new();
    private int _metricsPort;
    private DaemonProcess? _daemon;

    public string Url { get; private set; } = "";

    public FakeLlmServer Upstream { get; private set; } = null!;

    public static async Task<ChatSite> StartAsync(Front front,
        IReadOnlyDictionary<string, string>? environment = null)
    {
        var site = new ChatSite();
        try
        {
            var upstream = site.Upstream = site.Ending(await FakeLlmServer.StartAsync());
            var all = new Dictionary<string, string>(environment ?? new Dictionary<string, string>())
            {
                ["OPENAI_API_KEY"] = "sk-secret-of-the-test",
                ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
                ["OPENAI_HTTP2_ENABLED"] = "false",
                ["OPENAI_MAX_RETRIES"] = "0",
            };
            await (front == Front.Demo ? site.StartDemoAsync(all) : site.StartApacheAsync(all));
            if (front == Front.Tls)
                site.Url = site.Ending(await TlsTerminator.StartAsync(new Uri(site.Url))).Url;
            return site;
        }
        catch
        {
            await site.DisposeAsync();
            throw;
        }
    }

    /// <summary>What the model says from now on: as the test says it.</summary>
    public LiveAnswer NextAnswer()
    {
        var answer = new LiveAnswer();
        Upstream.Scenario = answer.RunAsync;
        return answer;
    }

    /// <summary>How often this has happened to answers.</summary>
    public async Task<int> AnswersAsync(string what)
    {
        using var http = new HttpClient();
        var metrics = await http.GetStringAsync($"http://127.0.0.1:{_metricsPort}/metrics");
        var name = $"streaming_daemon_answers_total{{event=\"{what}\"}} ";
        return metrics.Split('\n').Where(l => l.StartsWith(name, StringComparison.Ordinal))
            .Select(l => int.Parse(l[name.Length..], System.Globalization.CultureInfo.InvariantCulture))
            .SingleOrDefault();
    }

    /// <summary>httpd stays, and finds nobody to hand over to.</summary>
    public async Task StopDaemonAsync()
    {
        _daemon!.Signal(15);
        Assert.Equal(0, await _daemon.ExitCodeAsync());
    }

    public async ValueTask DisposeAsync()
    {
        while (_ends.TryPop(out var end))
            await end();
    }

    private async Task StartApacheAsync(Dictionary<string, string> environment)
    {
        var apache = new ApacheServer(Stack.EventWithPhpFpm);
        _ends.Push(() =>
        {
            apache.Dispose();
            return ValueTask.CompletedTask;
        });
        _daemon = Ending(await DaemonProcess.StartAsync(environment, metrics: true,
            "--backend", "openai", "--socket", apache.DefaultSocket, "--socket-mode", "0666"));
        _metricsPort = _daemon.MetricsPort;
        Url = apache.Url("/chat/");
    }

    private async Task StartDemoAsync(Dictionary<string, string> environment)
    {
        var port = DaemonProcess.FreePort();
        _metricsPort = DaemonProcess.FreePort();
        Url = $"http://127.0.0.1:{port}/";
        var demo = Process.Start(DaemonProcess.StartInfo(environment, Path.GetTempPath(),
            ["demo", "--backend", "openai", "--port", $"{port}", "--metrics", $"{_metricsPort}"]))!;
        _ends.Push(async () =>
        {
            // As its user does, so that it removes its directory.
            Posix.Kill(demo.Id, 2);
            await demo.WaitForExitAsync().WaitAsync(TestClient.Patience);
            demo.Dispose();
        });
        while (await demo.StandardOutput.ReadLineAsync().WaitAsync(TestClient.Patience) is { } line)
        {
            if (line.Contains(Url, StringComparison.Ordinal))
                return;
        }

        throw new InvalidOperationException($"the demonstration ended: {await demo.StandardError.ReadToEndAsync()}");
    }

    private T Ending<T>(T part)
        where T : IAsyncDisposable
    {
        _ends.Push(part.DisposeAsync);
        return part;
    }
}
