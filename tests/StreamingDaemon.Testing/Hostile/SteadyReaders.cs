using System.Diagnostics;
using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

/// <summary>
/// Clients of a daemon's mock backend. Each reads one stream after the other and measures its longest wait
/// between two reads.
/// </summary>
public sealed class SteadyReaders : IAsyncDisposable
{
    private readonly CancellationTokenSource _stop = new();
    private readonly string _socketPath;
    private readonly int _type;
    private readonly List<Task> _tasks = [];
    private readonly List<string> _complaints = [];
    private long _worstGapTicks;
    private long _events;
    private int _begun;

    public SteadyReaders(string socketPath, int readers, int type = Posix.SockSeqPacket)
    {
        (_socketPath, _type) = (socketPath, type);
        for (var i = 0; i < readers; i++)
            _tasks.Add(Task.Run(ReadOnAsync));
        Readers = readers;
    }

    public int Readers { get; }

    /// <summary>Number of reads so far.</summary>
    public long Events => Volatile.Read(ref _events);

    /// <summary>Number of readers that have read something.</summary>
    public int Begun => Volatile.Read(ref _begun);

    /// <summary>The longest wait of any reader since <see cref="Forget"/>.</summary>
    public TimeSpan WorstGap => Stopwatch.GetElapsedTime(0, Volatile.Read(ref _worstGapTicks));

    /// <summary>Complaints about answers that were incomplete.</summary>
    public IReadOnlyList<string> Complaints
    {
        get
        {
            lock (_complaints)
                return [.. _complaints];
        }
    }

    /// <summary>Restarts the measurement.</summary>
    public void Forget() => Volatile.Write(ref _worstGapTicks, 0);

    /// <summary>Lets running streams end, and begins no new ones.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_tasks).WaitAsync(TestClient.Patience);
        _stop.Dispose();
    }

    private async Task ReadOnAsync()
    {
        var buffer = new byte[16 * 1024];
        var isFirst = true;
        while (!_stop.IsCancellationRequested)
        {
            var last = Stopwatch.GetTimestamp();
            using var browser = HandOver();
            var (total, end) = (0, "");
            while (true)
            {
                var read = await browser.ReceiveAsync(buffer, SocketFlags.None);
                var now = Stopwatch.GetTimestamp();
                if (read == 0)
                    break;
                Raise(ref _worstGapTicks, now - last);
                last = now;
                total += read;
                end = System.Text.Encoding.UTF8.GetString(buffer, 0, read);
                Interlocked.Increment(ref _events);
                if (isFirst)
                    Interlocked.Increment(ref _begun);
                isFirst = false;
            }

            if (end.EndsWith("data: [DONE]\n\n", StringComparison.Ordinal))
                continue;
            lock (_complaints)
                _complaints.Add($"an answer of {total} bytes ends with '{end}'");
        }
    }

    private Socket HandOver()
    {
        var (browser, server) = TestClient.TcpPair();
        TestClient.HandOverDescriptor(_socketPath, """{"prompt":"steady"}"""u8, (int)server.Handle, _type);
        server.Dispose();
        return browser;
    }

    private static void Raise(ref long most, long value)
    {
        long seen;
        while (value > (seen = Volatile.Read(ref most)) && Interlocked.CompareExchange(ref most, value, seen) != seen)
        {
        }
    }
}
