namespace StreamingDaemon.Testing.Hostile;

/// <summary>What readers of other streams notice while a peer holds the locks of more and more sockets.</summary>
public sealed class HeldSockets(DaemonProcess daemon) : IAsyncDisposable
{
    /// <summary>Events of each reader that a row waits for.</summary>
    private const int EventsEach = 40;

    private readonly HostilePeer _peer = new(daemon.SocketPath);
    private readonly HttpClient _http = new() { BaseAddress = daemon.MetricsUri, Timeout = TestClient.Patience };
    private SteadyReaders? _readers;

    /// <summary>What one number of held sockets was like.</summary>
    public sealed record Row(int Held, TimeSpan LongestGap, int Live, int Tasks);

    public int Held { get; private set; }

    public IReadOnlyList<string> Complaints => _readers?.Complaints ?? [];

    /// <summary>The kernel's number of tasks of the daemon.</summary>
    public static int TasksOf(int pid) => Directory.GetDirectories($"/proc/{pid}/task").Length;

    /// <summary>Starts the readers, and waits until each has read something.</summary>
    public async Task BeginAsync(int readers)
    {
        _readers = new SteadyReaders(daemon.SocketPath, readers);
        await Eventually.TrueAsync(() => _readers.Begun == readers);
    }

    /// <summary>Holds more sockets, up to this number, and measures from the first of them on.</summary>
    public async Task<Row> MeasureAsync(int held)
    {
        var readers = _readers!;
        readers.Forget();
        while (Held < held)
        {
            await _peer.CommitAsync("LockHeldLater");
            Held++;
        }

        var enough = readers.Events + (readers.Readers * EventsEach);
        var live = 200;
        await Eventually.TrueAsync(async () =>
        {
            using var answer = await _http.GetAsync("/health/live");
            var status = (int)answer.StatusCode;
            live = status == 200 ? live : status;
            return readers.Events >= enough;
        });
        return new Row(held, readers.WorstGap, live, TasksOf(daemon.Pid));
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        _peer.Dispose();
        if (_readers is not null)
            await _readers.DisposeAsync();
    }
}
