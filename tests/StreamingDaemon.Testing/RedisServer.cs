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
        BusPort = more.Contains("--cluster-enabled") ? DaemonProcess.FreePort() : 0;
        _process = Launch();
    }

    public int Port { get; }

    /// <summary>Where it listens for other nodes of its cluster; 0 if it is in none.</summary>
    public int BusPort { get; }

    public int Pid => _process.Id;

    /// <summary>Where it writes a snapshot.</summary>
    public string SnapshotPath => _directory.File("dump.rdb");

    public static async Task<RedisServer> StartAsync(params string[] more)
    {
        var server = new RedisServer(more);
        try
        {
            await server.ListensAsync();
            return server;
        }
        catch
        {
            // It would outlive the test.
            await server.DisposeAsync();
            throw;
        }
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
        var answer = new StringBuilder();
        do
        {
            var read = await stream.ReadAsync(buffer).AsTask().WaitAsync(s_patience);
            if (read == 0)
                break;
            answer.Append(Encoding.UTF8.GetString(buffer, 0, read));
        }
        while (IsCut(answer.ToString()));
        return answer.ToString();
    }

    /// <summary>Sends commands on one connection, and reads until it has an answer to each, or is closed.</summary>
    public async Task CommandsAsync(params string[][] commands)
    {
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", Port).WaitAsync(s_patience);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.UTF8.GetBytes(string.Concat(commands.Select(words => string.Join(' ', words) + "\r\n"))));
        var buffer = new byte[4096];
        for (var lines = 0; lines < commands.Length;)
        {
            var read = await stream.ReadAsync(buffer).AsTask().WaitAsync(s_patience);
            if (read == 0)
                return;
            lines += buffer.AsSpan(0, read).Count((byte)'\n');
        }
    }

    /// <summary>What MONITOR says, from now until a text is in it.</summary>
    /// <param name="until">The text.</param>
    /// <param name="act">Runs once it listens.</param>
    public async Task<string> MonitorAsync(string until, Action act)
    {
        using var client = new TcpClient();
        await client.ConnectAsync("127.0.0.1", Port).WaitAsync(s_patience);
        var stream = client.GetStream();
        await stream.WriteAsync("MONITOR\r\n"u8.ToArray());
        var buffer = new byte[64 * 1024];
        var text = "";
        while (!text.Contains(until, StringComparison.Ordinal))
        {
            var read = await stream.ReadAsync(buffer).AsTask().WaitAsync(s_patience);
            if (read == 0)
                throw new IOException($"Redis ended after: {text}");
            if (text.Length == 0)
                act();
            text += Encoding.UTF8.GetString(buffer, 0, read);
        }

        return text;
    }

    /// <summary>The lines <c>name:value</c> of one section of INFO.</summary>
    public async Task<IReadOnlyDictionary<string, string>> InfoAsync(string section)
    {
        var lines = (await CommandAsync("INFO", section)).Split("\r\n").Select(line => line.Split(':', 2));
        return lines.Where(line => line.Length == 2).ToDictionary(line => line[0], line => line[1]);
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

    /// <summary>A bulk string whose end is still to come.</summary>
    private static bool IsCut(string answer)
    {
        var line = answer.IndexOf("\r\n", StringComparison.Ordinal);
        return answer.StartsWith('$') && answer != "$-1\r\n" && (line < 0 || answer.Length < line + 4 + int.Parse(answer.AsSpan(1, line - 1)));
    }

    /// <summary>A sentinel keeps its state in its configuration.</summary>
    private string[] SentinelFile()
    {
        if (!_more.Contains("--sentinel"))
            return [];
        var file = _directory.File("sentinel.conf");
        File.WriteAllText(file, $"port {Port}\n");
        return [file];
    }

    private Process Launch() => Process.Start(new ProcessStartInfo("redis-server",
        [.. SentinelFile(), "--port", $"{Port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", _directory.Path, .. BusPort > 0 ? (string[])["--cluster-port", $"{BusPort}"] : [], .. _more])
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
