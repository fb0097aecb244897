namespace StreamingDaemon.ApacheTests;

/// <summary>A private php-fpm on a Unix socket in the server's own directory.</summary>
internal sealed class PhpFpm : IDisposable
{
    private readonly ChildProcess _process;

    public PhpFpm(string root, string? user, string daemonSocket)
    {
        Socket = Path.Combine(root, "fpm.sock");
        string configuration = Path.Combine(root, "fpm.conf");
        File.WriteAllText(configuration, $"""
            [global]
            error_log = {root}/fpm.log
            daemonize = no
            [www]
            {(user == null ? "" : $"user = {user}")}
            listen = {Socket}
            listen.mode = 0666
            listen.backlog = 511
            pm = static
            pm.max_children = 4
            env[HANDOFF_SOCKET] = {daemonSocket}

            """);
        List<string> arguments = ["--nodaemonize", "--fpm-config", configuration];
        _process = new ChildProcess(Tools.PhpFpm, arguments);
        Wait.Until(() => File.Exists(Socket) || _process.HasExited, () => _process.Output);
        if (_process.HasExited)
            throw new InvalidOperationException($"php-fpm ended.\n{_process.Output}");
    }

    public string Socket { get; }

    public void Dispose() => _process.Dispose();
}
