using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Kept answers in a Redis that speaks TLS and asks for a password.</summary>
[Trait("Needs", "Tools")]
public sealed class SharedAnswerTlsTests : IDisposable
{
    private const string Password = "secret-of-redis";
    private const string Handoff = """{"keep":true,"request_id":"a","user_id":7}""";

    private readonly TestAuthority _authority = new();
    private readonly TempDirectory _directory = new();
    private readonly int _port = DaemonProcess.FreePort();

    public void Dispose()
    {
        _authority.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task Two_daemons_share_an_answer_over_tls_with_the_password_of_a_file()
    {
        await using var redis = await StartRedisAsync();
        await using var one = await StartAsync($"redis_ca_file = \"{_authority.CaFile}\"");
        await using var two = await StartAsync($"redis_ca_file = \"{_authority.CaFile}\"");

        var kept = await one.AskAsync(Handoff);
        var read = await two.AskAsync("""{"resume":"a","user_id":7}""");

        Assert.Contains("X-Answer-Id: a", kept.Head, StringComparison.Ordinal);
        Assert.Equal(kept.Raw, read.Raw);
        Assert.DoesNotContain(Password, one.ErrorText + two.ErrorText, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Redis_that_nobody_vouches_for_is_not_spoken_to_and_answers_are_streamed(bool hasAnotherAuthority)
    {
        using var other = new TestAuthority();
        await using var redis = await StartRedisAsync();
        await using var daemon = await StartAsync(hasAnotherAuthority ? $"redis_ca_file = \"{other.CaFile}\"" : "");

        var answer = await daemon.AskAsync(Handoff);

        Assert.True(answer.IsDone);
        Assert.Equal(Answer.StreamHead, answer.Head);
        await Eventually.TrueAsync(() => daemon.LogLines("RedisUnavailable").Count == 1);
    }

    [Fact]
    public async Task File_without_a_certificate_stops_the_start_and_is_named()
    {
        var file = _directory.File("empty.pem");
        await File.WriteAllTextAsync(file, "none\n");

        var (code, _, error) = await DaemonProcess.RunAsync("--socket", _directory.File("s"), "--config",
            await ConfigurationAsync($"redis_ca_file = \"{file}\""));

        Assert.NotEqual(0, code);
        Assert.Contains($"answers.redis_ca_file: {file}: holds no certificate in PEM", error, StringComparison.Ordinal);
    }

    private Task<RedisServer> StartRedisAsync() => RedisServer.StartAsync("--tls-port", $"{_port}",
        "--tls-cert-file", _authority.CertificateFile, "--tls-key-file", _authority.KeyFile,
        "--tls-ca-cert-file", _authority.CaFile, "--tls-auth-clients", "no", "--requirepass", Password);

    private async Task<DaemonProcess> StartAsync(string more) =>
        await DaemonProcess.StartAsync("--delay", "0", "--config", await ConfigurationAsync(more));

    private async Task<string> ConfigurationAsync(string more)
    {
        var password = _directory.File("password");
        await File.WriteAllTextAsync(password, Password + "\n");
        var file = _directory.File("answers.toml");
        await File.WriteAllTextAsync(file, $"""
            [answers]
            store = "redis"
            redis = "localhost:{_port}"
            redis_tls = true
            redis_password_file = "{password}"
            {more}
            """);
        return file;
    }
}
