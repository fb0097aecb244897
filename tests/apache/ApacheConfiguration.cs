namespace StreamingDaemon.ApacheTests;

/// <summary>The text of a private httpd.conf.</summary>
internal sealed class ApacheConfiguration
{
    public required Stack Stack { get; init; }
    public required string Root { get; init; }
    public required int Port { get; init; }
    public required string SocketDirectory { get; init; }
    public required string DaemonSocket { get; init; }
    public required string? User { get; init; }
    public required int MaxWorkers { get; init; }
    public required string? FpmSocket { get; init; }
    public required string Extra { get; init; }

    /// <summary>Our module, or empty for an httpd without it.</summary>
    public required string Module { get; init; }

    public override string ToString() => Module.Length > 0 ? Text : string.Join('\n',
        Text.Split('\n').Where(line => !line.Contains("SocketHandoff", StringComparison.Ordinal)
            && !line.Contains("LoadModule socket_handoff", StringComparison.Ordinal)
            && !line.StartsWith("LogLevel", StringComparison.Ordinal)));

    private string Text => $"""
        ServerRoot {Root}
        ServerName localhost
        DefaultRuntimeDir {Root}
        Mutex file:{Root}
        PidFile {Root}/httpd.pid
        ErrorLog {Root}/error.log
        LogLevel info socket_handoff:debug
        Listen 127.0.0.1:{Port}
        {(User == null ? "" : $"User {User}\nGroup {User}")}
        {Modules()}
        {Mpm()}
        LogFormat "%>s %b %U handoff=%{"{socket-handoff}"}n" handoff
        CustomLog {Root}/access.log handoff
        DocumentRoot {Root}/www
        Alias /chat/ {Root}/chat/
        DirectoryIndex index.html
        SetEnv HANDOFF_SOCKET {DaemonSocket}
        RequestReadTimeout header=20-40,MinRate=500 body=20,MinRate=500
        SocketHandoffAllowedPrefix {SocketDirectory}
        <Directory />
            Require all granted
            Options FollowSymLinks
        </Directory>
        <FilesMatch "\.php$">
            SetHandler {Handler()}
        </FilesMatch>
        <VirtualHost *:{Port}>
            ServerName localhost
        </VirtualHost>
        <VirtualHost *:{Port}>
            ServerName disabled.test
            SocketHandoffEnabled Off
        </VirtualHost>
        <VirtualHost *:{Port}>
            ServerName inherits.test
            SocketHandoffMaxRetries 1
        </VirtualHost>
        <VirtualHost *:{Port}>
            ServerName narrow.test
            SocketHandoffAllowedPrefix {SocketDirectory}/narrow
        </VirtualHost>
        <VirtualHost *:{Port}>
            ServerName anywhere.test
            SocketHandoffAllowedPrefix ""
        </VirtualHost>
        <VirtualHost *:{Port}>
            ServerName patient.test
            SocketHandoffConnectTimeoutMs 10000
            SocketHandoffMaxRetries 8
        </VirtualHost>
        <VirtualHost *:{Port}>
            ServerName parts.test
            AddOutputFilter INCLUDES .html
            <Directory {Root}/www>
                Options +Includes
            </Directory>
        </VirtualHost>
        {Extra}

        """;

    private string Handler() => Stack == Stack.PreforkWithModPhp
        ? "application/x-httpd-php"
        : $"\"proxy:unix:{FpmSocket}|fcgi://localhost/\"";

    private string Modules()
    {
        List<string> names =
        [
            "authz_core", "dir", "alias", "env", "mime", "reqtimeout", "include", "headers",
        ];
        names.AddRange(
            Stack == Stack.PreforkWithModPhp ? ["mpm_prefork"]
                : [Stack == Stack.EventWithPhpFpm ? "mpm_event" : "mpm_worker", "proxy", "proxy_fcgi"]);
        var lines = names.Select(Tools.LoadModule);
        if (Stack == Stack.PreforkWithModPhp)
            lines = lines.Append($"LoadModule php_module {Tools.ModPhp}");
        return string.Join('\n', lines.Append($"LoadModule socket_handoff_module {Module}"))
            + $"\nTypesConfig /dev/null\nAddType text/html .html";
    }

    /// <summary>If few workers are requested, one process has exactly these.</summary>
    private string Mpm() => Stack == Stack.PreforkWithModPhp
        ? $"""
        StartServers {Math.Min(MaxWorkers, 4)}
        ServerLimit {MaxWorkers}
        MaxRequestWorkers {MaxWorkers}
        """
        : $"""
        StartServers 1
        ServerLimit 1
        MinSpareThreads 1
        ThreadsPerChild {MaxWorkers}
        MaxRequestWorkers {MaxWorkers}
        """;
}
