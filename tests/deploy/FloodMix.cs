using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>How much of each flood comes, all at one moment.</summary>
internal sealed record FloodSizes
{
    /// <summary>Handoffs with prompts of 20 to 100 KB; the upstream answers them last.</summary>
    public int Prompts { get; init; }

    /// <summary>Handoffs whose 60 to 400 KB are in sealed memory; the upstream answers them last.</summary>
    public int Sealed { get; init; }

    /// <summary>TCP clients that read nothing of a long answer that comes fast.</summary>
    public int Unread { get; init; }

    /// <summary>The same, and their answers are kept.</summary>
    public int Kept { get; init; }

    /// <summary>Answers in one event of nearly 1 MiB, the last byte of which comes late.</summary>
    public int Lines { get; init; }

    /// <summary>Answers whose response head has nearly 32 KiB, and which begin late.</summary>
    public int Heads { get; init; }

    /// <summary>Peers that connect and send nothing, or over SOCK_STREAM half a handoff.</summary>
    public int Silent { get; init; }

    /// <summary>Clients that ask for /metrics and /health again and again.</summary>
    public int Crowd { get; init; }

    /// <summary>Number of reloads of a file of nearly 1 MiB.</summary>
    public int Reloads { get; init; }
}

/// <summary>Floods of several kinds at one moment: of handoffs, of what upstreams send, of requests to the
/// metrics port, of reloads.</summary>
internal sealed class FloodMix : IAsyncDisposable
{
    private const int SigHup = 1;
    private static readonly string s_event = new('y', 8_000);
    private static readonly string s_piece = new('z', 50_000);

    private readonly DaemonProcess _daemon;
    private readonly int _type;
    private readonly TaskCompletionSource _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly CancellationTokenSource _stop = new();
    private readonly List<Task<string>> _answers = [];
    private readonly List<Socket> _unread = [];
    private readonly List<int> _silent = [];
    private int _crowdServed;
    private int _handoffs;

    public FloodMix(DaemonProcess daemon, FakeLlmServer upstream, int type)
    {
        (_daemon, _type) = (daemon, type);
        upstream.ForgetsBodies = true;
        upstream.Scenario = AnswerAsync;
    }

    /// <summary>What the clients read that read.</summary>
    public IReadOnlyList<string> Answers { get; private set; } = [];

    /// <summary>Handoffs that were whole.</summary>
    public int Handoffs => _handoffs;

    /// <summary>Answers that came whole.</summary>
    public int Whole => Answers.Count(answer => answer.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal)
        && answer.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal));

    /// <summary>Answers that say there is no memory: as a status, or if they had begun as an event.</summary>
    public int OverMemory => Answers.Count(answer =>
        answer.Contains("\"code\":\"over_memory\"", StringComparison.Ordinal)
        && (answer.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal)
            || (answer.StartsWith("HTTP/1.1 503 ", StringComparison.Ordinal)
                && answer.Contains("\r\nRetry-After: ", StringComparison.Ordinal))));

    /// <summary>Answers that the crowd got from the metrics port.</summary>
    public int CrowdServed => Volatile.Read(ref _crowdServed);

    /// <summary>Hands everything over at once, holds it for a while, then lets the upstream answer, and has
    /// each client read to its end.</summary>
    /// <param name="sizes">How much of each.</param>
    /// <param name="reload">Writes the file that the daemon reads again.</param>
    /// <param name="duration">How long the upstream is silent after the first handoff, at the least.</param>
    public async Task RunAsync(FloodSizes sizes, Action<int> reload, TimeSpan duration)
    {
        Task[] beside =
        [
            .. Enumerable.Range(0, sizes.Crowd).Select(i => Task.Run(() => AskAgainAndAgainAsync(i))),
            Task.Run(() => ReloadAsync(sizes.Reloads, reload)),
        ];
        var silence = Task.Delay(duration);
        await Task.Run(() => HandOverAll(sizes));
        await silence;
        _answer.SetResult();
        Answers = await Task.WhenAll(_answers);
        await _stop.CancelAsync();
        await Task.WhenAll(beside);
        ReleaseClients();
    }

    public async ValueTask DisposeAsync()
    {
        _answer.TrySetResult();
        await _stop.CancelAsync();
        ReleaseClients();
        _stop.Dispose();
    }

    /// <summary>All kinds in turn, so that all of them are there from the start.</summary>
    private void HandOverAll(FloodSizes sizes)
    {
        (int Count, Action<int> One)[] kinds =
        [
            (sizes.Prompts, i => HandOver(Prompt("late", 20_000 + (i % 5 * 20_000)))),
            (sizes.Sealed, i => HandOverSealed(Prompt("late", 60_000 + (i % 3 * 170_000)))),
            (sizes.Unread, _ => _unread.Add(HandOverTcp(Prompt("fast", 100)))),
            (sizes.Kept, _ => _unread.Add(HandOverTcp(Prompt("fast", 100, "\"keep\":true,\"user_id\":7,")))),
            (sizes.Lines, _ => HandOver(Prompt("line", 100))),
            (sizes.Heads, _ => HandOver(Prompt("head", 100))),
            (sizes.Silent, _ => BeSilent()),
        ];
        var most = kinds.Max(kind => kind.Count);
        for (var i = 0; i < most; i++)
        {
            foreach (var (count, one) in kinds)
            {
                if ((long)i * count / most != (long)(i + 1) * count / most)
                    one(i);
            }
        }
    }

    private string Prompt(string pattern, int bytes, string more = "")
    {
        _handoffs++;
        var head = $$"""{"request_id":"r{{_handoffs}}","test_pattern":"{{pattern}}",{{more}}""";
        return $"{head}\"prompt\":\"{new string('x', bytes)}\"}}";
    }

    private void HandOver(string json) => _answers.Add(ReadAsync(TestClient.HandOver(_daemon.SocketPath, json, _type)));

    private void HandOverSealed(string json)
    {
        var data = Encoding.UTF8.GetBytes(json);
        var (ours, theirs) = Posix.SocketPair();
        var memory = Posix.MemoryFile(data);
        var connection = Posix.ConnectUnix(_daemon.SocketPath, _type);
        var line = Encoding.UTF8.GetBytes($"handoff-data/1 {data.Length}\n");
        _ = Posix.SendDescriptors(connection, line, theirs, memory);
        foreach (var fd in (int[])[connection, memory, theirs])
            _ = Posix.Close(fd);
        _answers.Add(ReadAsync(Posix.ToSocket(ours)));
    }

    private Socket HandOverTcp(string json)
    {
        var (browser, server) = TestClient.TcpPair(small: true);
        using (server)
            TestClient.HandOverDescriptor(_daemon.SocketPath, Encoding.UTF8.GetBytes(json), (int)server.Handle, _type);
        return browser;
    }

    private void BeSilent()
    {
        var fd = Posix.ConnectUnix(_daemon.SocketPath, _type);
        _silent.Add(fd);
        if (_type != Posix.SockStream)
            return;
        var (ours, theirs) = Posix.SocketPair();
        _unread.Add(Posix.ToSocket(ours));
        _ = Posix.SendDescriptors(fd, Encoding.UTF8.GetBytes("""{"prompt":"half""" + s_piece), theirs);
        _ = Posix.Close(theirs);
    }

    private static async Task<string> ReadAsync(Socket client)
    {
        using (client)
            return Encoding.UTF8.GetString(await TestClient.ReadToEndAsync(client, TimeSpan.FromMinutes(2)));
    }

    private async Task AskAgainAndAgainAsync(int i)
    {
        using var http = new HttpClient { Timeout = TimeSpan.FromSeconds(60) };
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var answer = await http.GetAsync(
                    new Uri(_daemon.MetricsUri, i % 2 == 0 ? "/metrics" : "/health"), _stop.Token);
                Interlocked.Increment(ref _crowdServed);
            }
            catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
            {
                // More connections than there are places: the oldest is closed.
            }
        }
    }

    private async Task ReloadAsync(int count, Action<int> reload)
    {
        for (var i = 0; i < count && !_stop.IsCancellationRequested; i++)
        {
            reload(i);
            Posix.Kill(_daemon.Pid, SigHup);
            await Task.Delay(20);
        }
    }

    private void ReleaseClients()
    {
        _unread.ForEach(client => client.Dispose());
        _silent.ForEach(fd => _ = Posix.Close(fd));
        _silent.Clear();
    }

    /// <summary>The upstream: what it does is in the request's X-Test-Pattern.</summary>
    private async Task AnswerAsync(FakeLlmExchange exchange)
    {
        switch (exchange.Request.Headers.GetValueOrDefault("X-Test-Pattern"))
        {
            case "late":
                await _answer.Task;
                break;
            case "fast":
                await exchange.StartAsync();
                for (var i = 0; i < 500; i++)
                    await exchange.SendDeltaAsync(s_event);
                return;
            case "line":
                await exchange.StartAsync();
                await exchange.SendRawAsync("data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"");
                for (var i = 0; i < 20; i++)
                    await exchange.SendRawAsync(s_piece);
                await _answer.Task;
                await exchange.SendRawAsync("\"}}]}\n\n");
                await FinishAsync(exchange);
                return;
            case "head":
                for (var i = 0; i < 7; i++)
                    exchange.Context.Response.Headers[$"X-Large-{i}"] = new string('h', 4_000);
                await exchange.StartAsync();
                await _answer.Task;
                await exchange.SendDeltaAsync("x");
                await FinishAsync(exchange);
                return;
        }

        await FakeLlmScenarios.RunAsync(exchange);
    }

    private static async Task FinishAsync(FakeLlmExchange exchange)
    {
        await exchange.SendFinishAsync();
        await exchange.SendDoneAsync();
    }
}
