using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>What a proof found.</summary>
/// <param name="Done">Answers whose [DONE] was read.</param>
/// <param name="Missing">Those of them that are not in the database.</param>
/// <param name="Repeated">Those of them that are there more than once.</param>
/// <param name="Disordered">Those of them that are there before an earlier one of their user.</param>
/// <param name="Rows">Rows of the database; answers that were cut before [DONE] may be among them.</param>
/// <param name="Kills">How often the daemon was killed.</param>
/// <param name="Outages">How often the receiver was killed.</param>
/// <param name="Left">Deliveries that still wait.</param>
public sealed record DeliveryProofResult(
    int Done, int Missing, int Repeated, int Disordered, int Rows, int Kills, int Outages, int Left);

/// <summary>
/// The promise of deliveries, tried: clients read answers while the receiver is down half of the time, and the
/// daemon is killed. Every answer whose [DONE] was read must be in the database exactly once.
/// </summary>
public sealed class DeliveryProof : IAsyncDisposable
{
    private const int SigKill = 9;
    private const int Clients = 16;

    /// <summary>Few, so that deliveries stand in line for each.</summary>
    private const int UsersOfAClient = 3;

    /// <summary>How long the receiver is up, and then down.</summary>
    private static readonly TimeSpan s_phase = TimeSpan.FromMilliseconds(700);

    private readonly TempDirectory _directory = new();
    private readonly ConcurrentDictionary<string, (int User, long Order)> _done = new();
    private readonly PhpSite _site;
    private DaemonProcess? _daemon;
    private int _kills;
    private int _outages;

    public DeliveryProof() => _site = new PhpSite(_directory.Path);

    /// <summary>Plays it all.</summary>
    /// <param name="answers">How many answers are read to their end.</param>
    /// <param name="kills">How often the daemon is killed, spread over the answers.</param>
    /// <param name="patience">How long the deliveries may take after the last answer.</param>
    public async Task<DeliveryProofResult> RunAsync(int answers, int kills, TimeSpan patience)
    {
        await _site.UpAsync();
        await StartDaemonAsync();
        using var over = new CancellationTokenSource();
        var receiver = ReceiverComesAndGoesAsync(over.Token);
        var clients = Enumerable.Range(0, Clients).Select(client => Task.Run(() => ReadAsync(client, answers))).ToArray();
        var everybody = Task.WhenAll(clients);
        for (var kill = 1; kill <= kills; kill++)
        {
            var due = answers * kill / (kills + 1);
            await Eventually.TrueAsync(() => _done.Count >= due || everybody.IsCompleted, TimeSpan.FromMinutes(10));
            await KillDaemonAsync();
        }

        await everybody;
        await over.CancelAsync();
        await receiver;
        await _site.UpAsync();
        var left = await LeftAsync(patience);
        return await JudgeAsync(left);
    }

    public async ValueTask DisposeAsync()
    {
        if (_daemon is not null)
            await _daemon.DisposeAsync();
        _site.Dispose();
        _directory.Dispose();
    }

    private async Task StartDaemonAsync() => Volatile.Write(ref _daemon, await DaemonProcess.StartAsync(
        new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_DELIVERY__URL"] = _site.Url.ToString(),
            ["STREAMING_DAEMON_DELIVERY__SECRET_FILE"] = _site.SecretFile,
            ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = _directory.File("spool"),
            ["STREAMING_DAEMON_DELIVERY__WHICH"] = "all",
        }, metrics: false, "--delay", "1"));

    private async Task KillDaemonAsync()
    {
        var killed = _daemon!;
        Volatile.Write(ref _daemon, null);
        killed.Signal(SigKill);
        await killed.ExitCodeAsync();
        await killed.DisposeAsync();
        _kills++;
        await StartDaemonAsync();
    }

    private async Task ReceiverComesAndGoesAsync(CancellationToken over)
    {
        while (true)
        {
            await Task.Delay(s_phase, over).ContinueWith(static _ => { }, TaskScheduler.Default);
            _site.Down();
            if (over.IsCancellationRequested)
                return;
            _outages++;
            await Task.Delay(s_phase, over).ContinueWith(static _ => { }, TaskScheduler.Default);
            await _site.UpAsync();
        }
    }

    /// <summary>Reads answers one after the other: the next one begins when [DONE] was read.</summary>
    private async Task ReadAsync(int client, int answers)
    {
        for (var order = 0L; _done.Count < answers; order++)
        {
            var id = Guid.NewGuid().ToString("N");
            var user = (client * UsersOfAClient) + Random.Shared.Next(UsersOfAClient);
            if (Volatile.Read(ref _daemon) is not { } daemon
                || !await ReadToDoneAsync(daemon.SocketPath, user, id))
            {
                await Task.Delay(20);
            }
            else
            {
                _done.TryAdd(id, (user, order));
            }
        }
    }

    /// <returns>True if [DONE] was read: from then on the answer must arrive.</returns>
    private static async Task<bool> ReadToDoneAsync(string socket, int user, string id)
    {
        try
        {
            using var client = TestClient.HandOver(socket,
                $$"""{"prompt":"hi","user_id":{{user}},"request_id":"{{id}}"}""");
            var answer = await TestClient.ReadToEndAsync(client);
            return answer.AsSpan().IndexOf(Encoding.ASCII.GetBytes("data: [DONE]")) >= 0;
        }
        catch (Exception e) when (e is IOException or System.Net.Sockets.SocketException
            or InvalidOperationException or System.ComponentModel.Win32Exception or OperationCanceledException)
        {
            return false;
        }
    }

    private async Task<int> LeftAsync(TimeSpan patience)
    {
        var waited = Stopwatch.StartNew();
        var pending = _directory.File("spool/pending");
        int left;
        while ((left = Directory.GetFiles(pending, "*.json").Length) > 0 && waited.Elapsed < patience)
            await Task.Delay(50);
        return left;
    }

    private async Task<DeliveryProofResult> JudgeAsync(int left)
    {
        var rows = await _site.RowsAsync();
        var times = rows.GroupBy(row => row.RequestId).ToDictionary(group => group.Key, group => group.Count());
        return new DeliveryProofResult(_done.Count, _done.Keys.Count(id => !times.ContainsKey(id)),
            _done.Keys.Count(id => times.GetValueOrDefault(id) > 1), Disordered(rows.Select(row => row.RequestId)),
            rows.Count, _kills, _outages, left);
    }

    private int Disordered(IEnumerable<string> inRows)
    {
        var (last, count) = (new Dictionary<int, long>(), 0);
        foreach (var id in inRows)
        {
            if (!_done.TryGetValue(id, out var answer))
                continue;
            count += last.GetValueOrDefault(answer.User, -1) > answer.Order ? 1 : 0;
            last[answer.User] = answer.Order;
        }

        return count;
    }
}
