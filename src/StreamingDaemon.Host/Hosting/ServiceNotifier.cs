using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Tells the service manager how the daemon is, as sd_notify(3) does: datagrams of lines to the socket that
/// NOTIFY_SOCKET names. Does nothing if it names none. Never blocks; what cannot be sent is lost.
/// </summary>
internal sealed class ServiceNotifier : IDisposable
{
    private readonly Socket? _socket;
    private readonly UnixDomainSocketEndPoint? _manager;

    public ServiceNotifier()
    {
        // An abstract name is written with an at sign, and begins with a zero.
        var path = Environment.GetEnvironmentVariable("NOTIFY_SOCKET") ?? "";
        if (path.Length < 2 || path[0] is not ('/' or '@'))
            return;
        _manager = new UnixDomainSocketEndPoint(path[0] == '@' ? "\0" + path[1..] : path);
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified)
        { Blocking = false };
        WatchdogInterval = ReadWatchdogInterval();
    }

    /// <summary>How often the manager wants to hear of us, halved as sd_watchdog_enabled(3) recommends; null
    /// if it does not.</summary>
    public TimeSpan? WatchdogInterval { get; }

    public void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    /// <summary>A reload has begun; <see cref="Ready"/> ends it.</summary>
    public void Reloading()
    {
        // Type=notify-reload wants CLOCK_MONOTONIC, which is what Stopwatch reads.
        var microseconds = (long)Stopwatch.GetElapsedTime(0).TotalMicroseconds;
        Send(string.Create(CultureInfo.InvariantCulture,
            $"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"));
    }

    /// <summary>A drain has begun, and wants its time before the manager kills.</summary>
    public void Stopping(string status, TimeSpan patience) => Send(string.Create(CultureInfo.InvariantCulture,
        $"STOPPING=1\nSTATUS={status}\nEXTEND_TIMEOUT_USEC={(long)patience.TotalMicroseconds}"));

    public void Alive() => Send("WATCHDOG=1");

    public void Dispose() => _socket?.Dispose();

    private void Send(string lines)
    {
        if (_socket is null)
            return;
        try
        {
            _socket.SendTo(Encoding.UTF8.GetBytes(lines), _manager!);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // A manager that is gone, or does not read: the streams are more important.
        }
    }

    private static TimeSpan? ReadWatchdogInterval()
    {
        var forUs = Environment.GetEnvironmentVariable("WATCHDOG_PID") is not { Length: > 0 } pid
            || pid == Environment.ProcessId.ToString(CultureInfo.InvariantCulture);
        return forUs && long.TryParse(Environment.GetEnvironmentVariable("WATCHDOG_USEC"), NumberStyles.None,
            CultureInfo.InvariantCulture, out var microseconds) && microseconds >= 2
            ? TimeSpan.FromMicroseconds(microseconds / 2)
            : null;
    }
}
