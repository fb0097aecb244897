using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Reports the daemon's state to the service manager, as sd_notify(3) does: datagrams of lines to the socket
/// in NOTIFY_SOCKET. Does nothing if there is none. Never blocks; a message that cannot be sent is lost.
/// </summary>
internal sealed class ServiceNotifier : IDisposable
{
    private readonly Socket? _socket;
    private readonly UnixDomainSocketEndPoint? _manager;

    public ServiceNotifier()
    {
        // An abstract name is written with '@' but begins with a NUL byte.
        var path = Environment.GetEnvironmentVariable("NOTIFY_SOCKET") ?? "";
        if (path.Length < 2 || path[0] is not ('/' or '@'))
            return;
        _manager = new UnixDomainSocketEndPoint(path[0] == '@' ? "\0" + path[1..] : path);
        _socket = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified)
        { Blocking = false };
        WatchdogInterval = ReadWatchdogInterval();
    }

    /// <summary>Time between two <see cref="Alive"/> messages: half of the manager's watchdog time, as
    /// sd_watchdog_enabled(3) recommends. Null if the manager has no watchdog for this process.</summary>
    public TimeSpan? WatchdogInterval { get; }

    public void Ready(string status) => Send($"READY=1\nSTATUS={status}");

    /// <summary>A reload has begun; <see cref="Ready"/> ends it.</summary>
    public void Reloading()
    {
        // Type=notify-reload needs CLOCK_MONOTONIC, the clock that Stopwatch reads.
        var microseconds = (long)Stopwatch.GetElapsedTime(0).TotalMicroseconds;
        Send(string.Create(CultureInfo.InvariantCulture,
            $"RELOADING=1\nMONOTONIC_USEC={microseconds}\nSTATUS=reloading"));
    }

    /// <summary>A drain has begun; asks the manager not to kill the daemon for this long.</summary>
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
            // The manager is gone or does not read. The streams are more important.
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
