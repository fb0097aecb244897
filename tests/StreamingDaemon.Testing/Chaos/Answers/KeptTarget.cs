using System.Globalization;
using System.Net.Http;
using System.Net.Sockets;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>One daemon of the chaos, and the handoffs that this process of it got.</summary>
public sealed partial class KeptTarget(Func<Task<DaemonProcess>> start) : IAsyncDisposable
{
    private const int SigKill = 9;
    private static readonly HttpClient s_http = new() { Timeout = TimeSpan.FromSeconds(20) };
    private DaemonProcess? _daemon;
    private long _handoffs;

    /// <summary>Null while it is dead.</summary>
    public DaemonProcess? Daemon => Volatile.Read(ref _daemon);

    public int SocketsAtRest { get; private set; }

    /// <summary>Handoffs that the running process got.</summary>
    public long Handoffs => Volatile.Read(ref _handoffs);

    public async Task StartAsync()
    {
        var daemon = await start();
        Volatile.Write(ref _handoffs, 0);
        SocketsAtRest = daemon.OpenSockets();
        Volatile.Write(ref _daemon, daemon);
    }

    public async Task KillAsync()
    {
        var killed = _daemon!;
        Volatile.Write(ref _daemon, null);
        killed.Signal(SigKill);
        await killed.ExitCodeAsync();
        await killed.DisposeAsync();
    }

    /// <summary>Hands a client over.</summary>
    /// <param name="json">The handoff.</param>
    /// <param name="to">The process that got it: if it is no longer <see cref="Daemon"/>, it was killed.</param>
    /// <returns>Null if the daemon is dead.</returns>
    public Socket? HandOver(string json, out DaemonProcess? to)
    {
        to = Daemon;
        if (to is null)
            return null;
        try
        {
            Interlocked.Increment(ref _handoffs);
            return TestClient.HandOver(to.SocketPath, json);
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException or IOException
            or System.ComponentModel.Win32Exception)
        {
            if (Daemon == to)
                throw;
            return null;
        }
    }

    /// <summary>The values of /metrics, by name with labels as printed.</summary>
    public async Task<Dictionary<string, double>> MetricsAsync()
    {
        var text = await s_http.GetStringAsync(new Uri(Daemon!.MetricsUri, "/metrics"));
        return Line().Matches(text).ToDictionary(
            match => match.Groups[1].Value, match => double.Parse(match.Groups[2].ValueSpan, CultureInfo.InvariantCulture));
    }

    public async ValueTask DisposeAsync()
    {
        if (_daemon is not null)
            await _daemon.DisposeAsync();
    }

    [GeneratedRegex(@"^(streaming_daemon_\w+(?:\{.*\})?) (\S+)$", RegexOptions.Multiline)]
    private static partial Regex Line();
}
