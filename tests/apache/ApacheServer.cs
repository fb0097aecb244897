using System.Net;
using System.Net.Sockets;

namespace StreamingDaemon.ApacheTests;

/// <summary>How PHP runs: the set-ups that sites have.</summary>
public enum Stack
{
    PreforkWithModPhp,
    EventWithPhpFpm,

    /// <summary>As the one above it, but for the threads.</summary>
    WorkerWithPhpFpm,
}

/// <summary>A private httpd with our module, in its own directory, on its own port.</summary>
internal sealed class ApacheServer : IDisposable
{
    /// <summary>More than the socket buffers of both sides hold.</summary>
    public const int LargeFileBytes = 8_000_000;

    private readonly string _root = Directory.CreateTempSubdirectory("handoff-apache-").FullName;
    private readonly ChildProcess _process;
    private readonly PhpFpm? _fpm;

    /// <param name="stack">How PHP runs.</param>
    /// <param name="maxWorkers">Maximum concurrent requests.</param>
    /// <param name="extra">Additional lines of configuration.</param>
    /// <param name="environment">Extra variables, as <c>NAME=value</c>.</param>
    /// <param name="module">Our module, if it is built in another way than the shared one.</param>
    /// <param name="fpmUser">User of php-fpm, if it is another one than httpd's.</param>
    public ApacheServer(Stack stack, int maxWorkers = 20, string extra = "",
        IEnumerable<string>? environment = null, string? module = null, string? fpmUser = null)
    {
        try
        {
            CreateDirectories();
            Port = FreePort();
            // As root, httpd runs its workers as another user; as any other user it just runs.
            string? user = Environment.IsPrivilegedProcess ? "www-data" : null;
            _fpm = stack == Stack.PreforkWithModPhp ? null : new PhpFpm(_root, fpmUser ?? user, DefaultSocket);
            string configuration = Path.Combine(_root, "httpd.conf");
            File.WriteAllText(configuration, new ApacheConfiguration
            {
                Stack = stack,
                Root = _root,
                Port = Port,
                SocketDirectory = SocketDirectory,
                DaemonSocket = DefaultSocket,
                User = user,
                MaxWorkers = maxWorkers,
                FpmSocket = _fpm?.Socket,
                Module = module ?? Tools.HandoffModule,
                Extra = extra.Replace("{_root}", _root, StringComparison.Ordinal),
            }.ToString());
            // In its own session: prefork ends by a SIGTERM to its process group, which would be ours.
            _process = new ChildProcess(Tools.SetSid,
                ["env", .. environment ?? [], Tools.Apache, "-f", configuration, "-DFOREGROUND"]);
            Wait.Until(() => Answers() || _process.HasExited, () => $"httpd does not answer.\n{Log}");
            if (_process.HasExited)
                throw new InvalidOperationException($"httpd ended.\n{_process.Output}{Log}");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    public int Port { get; }

    /// <summary>The allowed prefix.</summary>
    public string SocketDirectory => Path.Combine(_root, "run");

    /// <summary>The socket that <c>stream.php</c> names.</summary>
    public string DefaultSocket => Path.Combine(SocketDirectory, "daemon.sock");

    public string Root => _root;

    public string Log => File.Exists(Path.Combine(_root, "error.log"))
        ? File.ReadAllText(Path.Combine(_root, "error.log"))
        : "";

    public string AccessLog => File.ReadAllText(Path.Combine(_root, "access.log"));

    public string Url(string pathAndQuery) => $"http://127.0.0.1:{Port}{pathAndQuery}";

    /// <summary>The address of a script that requests a handoff to this socket.</summary>
    public static string HandoffPath(
        string socket, string? data = """{"prompt":"hello"}""", string more = "") =>
        $"/handoff.php?socket={Uri.EscapeDataString(socket)}"
        + (data == null ? "" : $"&data={Uri.EscapeDataString(data)}") + more;

    public void WaitForLog(string text) =>
        Wait.Until(() => Log.Contains(text, StringComparison.Ordinal), () => Log);

    public void Stop() => _process.Stop();

    /// <summary>Reads its configuration again: the workers end when their requests have, and new ones come.</summary>
    public void Reload()
    {
        string process = File.ReadAllText(Path.Combine(_root, "httpd.pid")).Trim();
        Assert.Equal(0, ChildProcess.Run("kill", "-USR1", process).ExitCode);
    }

    public void Dispose()
    {
        _process?.Dispose();
        _fpm?.Dispose();
        Directory.Delete(_root, recursive: true);
    }

    /// <summary>Below those that the kernel gives to connections: on a busy machine, one of them would have it before
    /// httpd does.</summary>
    internal static int FreePort()
    {
        for (; ; )
        {
            int port = Random.Shared.Next(16_384, 32_768);
            try
            {
                using var listener = new TcpListener(IPAddress.Loopback, port);
                listener.Start();
                return port;
            }
            catch (SocketException used) when (used.SocketErrorCode == SocketError.AddressAlreadyInUse)
            {
                // Another one.
            }
        }
    }

    private void CreateDirectories()
    {
        const UnixFileMode readable = (UnixFileMode)0b111_101_101;
        File.SetUnixFileMode(_root, readable);
        foreach (string name in new[] { "run", "www", "chat" })
            File.SetUnixFileMode(Directory.CreateDirectory(Path.Combine(_root, name)).FullName, readable);
        File.SetUnixFileMode(Directory.CreateDirectory(Path.Combine(_root, "sessions")).FullName,
            readable | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite);
        foreach (string script in Directory.GetFiles(Path.Combine(AppContext.BaseDirectory, "www")))
            File.Copy(script, Path.Combine(_root, "www", Path.GetFileName(script)));
        foreach (string page in new[] { "index.html", "stream.php", "openai.php", "doctor.php" })
            File.Copy(Path.Combine(Tools.Repository, "apache", page), Path.Combine(_root, "chat", page));
        File.WriteAllText(Path.Combine(_root, "www", "plain.txt"), "plain\n");
        File.WriteAllText(Path.Combine(_root, "www", "large.txt"), new string('l', LargeFileBytes) + "\n");
    }

    private bool Answers()
    {
        try
        {
            using var client = new TcpClient();
            client.Connect(IPAddress.Loopback, Port);
            return true;
        }
        catch (SocketException)
        {
            return false;
        }
    }
}
