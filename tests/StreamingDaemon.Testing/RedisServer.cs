using System.Diagnostics;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>A redis-server of the test's own, in memory only.</summary>
public sealed class RedisServer : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly TempDirectory _directory = new();
    private readonly string[] _more;
    private Process _process;

    private RedisServer(string[] more)
    {
        _more = more;
        Port = DaemonProcess.FreePort();
        _process = Launch();
    }

    public int Port { get; }

    public int Pid => _process.Id;

    public static async Task<RedisServer> StartAsync(params string[] more)
    {
        var server = new RedisServer(more);
        await server.ListensAsync();
        return server;
    }

    /// <summary>Kills it as by kill -9: what it held is gone.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await _process.WaitForExitAsync().WaitAsync(s_patience);
        _process.Dispose();
    }

    /// <summary>Starts it again on the same port, empty.</summary>
    public async Task StartAgainAsync()
    {
        _process = Launch();
        await ListensAsync();
    }

    /// <summary>Sends one command, and returns the raw answer.</summary>
    public async Task<string> CommandAsync(params string[] words)
    {
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", Port).WaitAsync(s_patience);
        var text = new StringBuilder($"*{words.Length}\r\n");
        foreach (var word in words)
            text.Append($"${Encoding.UTF8.GetByteCount(word)}\r\n{word}\r\n");
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.UTF8.GetBytes(text.ToString()));
        var buffer = new byte[64 * 1024];
        var read = await stream.ReadAsync(buffer).AsTask().WaitAsync(s_patience);
        return Encoding.UTF8.GetString(buffer, 0, read);
    }

    public async ValueTask DisposeAsync()
    {
        try
        {
            await KillAsync();
        }
        catch (InvalidOperationException)
        {
            // The test killed it.
        }

        _directory.Dispose();
    }

    private Process Launch() => Process.Start(new ProcessStartInfo("redis-server",
        ["--port", $"{Port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", _directory.Path, .. _more])
    {
        RedirectStandardOutput = true,
    })!;

    private Task ListensAsync() => Eventually.TrueAsync(async () =>
    {
        try
        {
            return (await CommandAsync("PING")).Length > 0;
        }
        catch (SocketException)
        {
            return false;
        }
    });
}
