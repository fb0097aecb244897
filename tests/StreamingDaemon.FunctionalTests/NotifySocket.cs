using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The manager's end of sd_notify(3).</summary>
internal sealed class NotifySocket : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
    private readonly ConcurrentQueue<string> _seen = new();
    private int _read;

    public NotifySocket(TempDirectory directory, bool isAbstract)
    {
        var path = directory.File("notify");
        Name = isAbstract ? "@" + path : path;
        _socket.Bind(new UnixDomainSocketEndPoint(isAbstract ? "\0" + path : path));
        _ = ReceiveAsync();
    }

    public string Name { get; }

    public ConcurrentQueue<string> Seen => _seen;

    /// <summary>The next message that begins like this, after the one returned last.</summary>
    public async Task<string> NextAsync(string beginning)
    {
        string? found = null;
        await Eventually.TrueAsync(() => (found = Next(beginning)) is not null);
        return found!;
    }

    public void Dispose() => _socket.Dispose();

    private string? Next(string beginning)
    {
        var all = _seen.ToArray();
        var index = Array.FindIndex(all, _read, m => m.StartsWith(beginning, StringComparison.Ordinal));
        if (index < 0)
            return null;
        _read = index + 1;
        return all[index];
    }

    private async Task ReceiveAsync()
    {
        var buffer = new byte[4096];
        try
        {
            while (true)
            {
                var length = await _socket.ReceiveAsync(buffer);
                _seen.Enqueue(Encoding.UTF8.GetString(buffer, 0, length));
            }
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // The test has ended.
        }
    }
}
