using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Why Redis cannot be used: the log, /health and <c>check</c> say it in one word or sentence, and streams
/// go on.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerReasonTests : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly TestAuthority _authority = new();
    private readonly int _tlsPort = DaemonProcess.FreePort();

    public void Dispose()
    {
        _directory.Dispose();
        _authority.Dispose();
    }

    [Theory]
    [InlineData("wrong password", "WRONGPASS")]
    [InlineData("no password", "NOAUTH")]
    [InlineData("unknown user", "WRONGPASS")]
    [InlineData("user who may nothing", "NOPERM")]
    [InlineData("user who may not echo", "NOPERM")]
    [InlineData("unknown authority", "TLS: ")]
    [InlineData("TLS to a plain port", "no TLS within 1000 ms")]
    [InlineData("plain to a TLS port", "it speaks TLS: set answers.redis_tls")]
    [InlineData("sentinel", "it is a sentinel. Name the primary, or a proxy that leads to it")]
    [InlineData("nobody listens", "ConnectionRefused")]
    [InlineData("no such host", "HostNotFound")]
    [InlineData("a web server", "what answers there is no Redis")]
    [InlineData("one that is silent", "no answer within 1000 ms")]
    public async Task Reason_is_in_the_log_in_health_and_in_check_and_the_stream_is_whole(string fault, string reason)
    {
        await using var redis = await StartAsync(fault);
        using var other = fault is "a web server" or "one that is silent"
            ? new Listener(fault == "a web server") : null;
        var file = await ConfigurationAsync(Options(fault, redis, other));
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--config", file);

        await Eventually.TrueAsync(async () => (await daemon.HealthAsync()).Body
            .TryGetProperty("answers_redis_reason", out var said)
            && said.GetString()!.StartsWith(reason, StringComparison.Ordinal));
        var answer = await daemon.AskAsync("""{"keep":true,"request_id":"a","user_id":7}""");
        var (_, output, _) = await DaemonProcess.RunAsync("check", "--config", file, "--socket", _directory.File("c"));

        Assert.True(answer.IsDone);
        Assert.Contains(daemon.LogLines("\"Redis"), line => line.Contains(reason, StringComparison.Ordinal));
        var line = Assert.Single(output.Split('\n'), line => line.Contains(" redis ", StringComparison.Ordinal));
        Assert.StartsWith("warning", line, StringComparison.Ordinal);
        Assert.Contains(reason, line, StringComparison.Ordinal);
        Assert.DoesNotContain("secret", daemon.ErrorText + output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Reason_that_becomes_another_one_is_told_and_gone_when_Redis_can_be_used()
    {
        await using var redis = await RedisServer.StartAsync("--requirepass", "old-secret");
        await redis.KillAsync();
        var file = await ConfigurationAsync($"redis = \"127.0.0.1:{redis.Port}\"\n{PasswordOf("new-secret")}");
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0", "--config", file);
        await SaysAsync(daemon, "ConnectionRefused");

        await redis.StartAgainAsync();
        await SaysAsync(daemon, "WRONGPASS");
        await redis.CommandsAsync(["AUTH", "old-secret"], ["CONFIG", "SET", "requirepass", "new-secret"]);

        await SaysAsync(daemon, null);
        Assert.Contains("X-Answer-Id", (await daemon.AskAsync("""{"keep":true}""")).Head, StringComparison.Ordinal);
        Assert.Single(daemon.LogLines("\"RedisAvailable\""));
    }

    [Fact]
    public async Task User_of_Redis_with_the_rights_that_the_page_names_keeps_answers()
    {
        await using var redis = await RedisServer.StartAsync(["--user", "chat", "on", ">chat-secret",
            "~streaming-daemon:*", "+eval", "+evalsha", "+script", "+echo", "+ping", "+get", "+set", "+del", "+exists",
            "+pexpire", "+xadd", "+xrange"]);
        var file = await ConfigurationAsync(
            $"redis = \"127.0.0.1:{redis.Port}\"\nredis_user = \"chat\"\n{PasswordOf("chat-secret")}");
        await using var one = await DaemonProcess.StartAsync("--delay", "0", "--config", file);
        await using var two = await DaemonProcess.StartAsync("--delay", "0", "--config", file);

        var kept = await one.AskAsync("""{"keep":true,"request_id":"a","user_id":7}""");
        var (_, output, _) = await DaemonProcess.RunAsync("check", "--config", file, "--socket", _directory.File("c"));

        Assert.Equal(kept.Raw, (await two.AskAsync("""{"resume":"a","user_id":7}""")).Raw);
        Assert.StartsWith("ok", Assert.Single(output.Split('\n'),
            line => line.Contains(" redis ", StringComparison.Ordinal)), StringComparison.Ordinal);
    }

    private async Task<RedisServer> StartAsync(string fault) => await RedisServer.StartAsync(fault switch
    {
        "wrong password" or "no password" or "unknown user" => ["--requirepass", "right-secret"],
        "user who may nothing" => ["--user", "nobody", "on", ">right-secret"],
        "user who may not echo" => ["--user", "nobody", "on", ">right-secret", "~*", "+@all", "-echo"],
        "unknown authority" or "plain to a TLS port" => ["--tls-port", $"{_tlsPort}", "--tls-cert-file",
            _authority.CertificateFile, "--tls-key-file", _authority.KeyFile, "--tls-ca-cert-file",
            _authority.CaFile, "--tls-auth-clients", "no"],
        "sentinel" => ["--sentinel"],
        _ => [],
    });

    private string Options(string fault, RedisServer redis, Listener? other) => fault switch
    {
        "wrong password" => $"redis = \"127.0.0.1:{redis.Port}\"\n{PasswordOf("wrong-secret")}",
        "unknown user" => $"redis = \"127.0.0.1:{redis.Port}\"\nredis_user = \"chat\"\n{PasswordOf("wrong-secret")}",
        "user who may nothing" or "user who may not echo" =>
            $"redis = \"127.0.0.1:{redis.Port}\"\nredis_user = \"nobody\"\n{PasswordOf("right-secret")}",
        "unknown authority" => $"redis = \"localhost:{_tlsPort}\"\nredis_tls = true",
        "plain to a TLS port" => $"redis = \"localhost:{_tlsPort}\"",
        "TLS to a plain port" => $"redis = \"localhost:{redis.Port}\"\nredis_tls = true",
        "nobody listens" => $"redis = \"127.0.0.1:{DaemonProcess.FreePort()}\"",
        "no such host" => "redis = \"no-such-host.invalid:6379\"",
        "a web server" or "one that is silent" => $"redis = \"127.0.0.1:{other!.Port}\"",
        _ => $"redis = \"127.0.0.1:{redis.Port}\"",
    };

    private string PasswordOf(string secret)
    {
        var file = _directory.File("password");
        File.WriteAllText(file, secret + "\n");
        return $"redis_password_file = \"{file}\"";
    }

    private async Task<string> ConfigurationAsync(string options)
    {
        var file = _directory.File("answers.toml");
        await File.WriteAllTextAsync(file, $"[answers]\nstore = \"redis\"\n{options}\n");
        return file;
    }

    private static Task SaysAsync(DaemonProcess daemon, string? reason) => Eventually.TrueAsync(async () =>
        (await daemon.HealthAsync()).Body.TryGetProperty("answers_redis_reason", out var said)
            ? said.GetString() == reason : reason is null);

    /// <summary>What answers at the port of Redis and is none.</summary>
    private sealed class Listener : IDisposable
    {
        private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
        private readonly List<TcpClient> _held = [];

        public Listener(bool answers)
        {
            _listener.Start();
            _ = RunAsync(answers);
        }

        public int Port => ((IPEndPoint)_listener.LocalEndpoint).Port;

        public void Dispose()
        {
            _listener.Stop();
            foreach (var client in _held)
                client.Dispose();
        }

        private async Task RunAsync(bool answers)
        {
            try
            {
                while (true)
                {
                    var client = await _listener.AcceptTcpClientAsync();
                    _held.Add(client);
                    if (answers)
                        _ = AnswerAsync(client);
                }
            }
            catch (Exception e) when (e is SocketException or InvalidOperationException)
            {
                // The test has ended.
            }
        }

        /// <summary>One client that leaves early is not the end of the others.</summary>
        private static async Task AnswerAsync(TcpClient client)
        {
            try
            {
                await client.GetStream().ReadAtLeastAsync(new byte[4096], 1);
                await client.GetStream().WriteAsync("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n"u8.ToArray());
                client.Close();
            }
            catch (Exception e) when (e is SocketException or IOException or ObjectDisposedException)
            {
                // It has left.
            }
        }
    }
}
