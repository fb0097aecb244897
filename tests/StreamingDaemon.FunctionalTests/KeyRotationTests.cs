using System.Security.Cryptography.X509Certificates;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A key in a file is replaced without a restart, and without a stream that fails.</summary>
public sealed class KeyRotationTests : IDisposable
{
    private const string Old = "sk-secret-old";
    private const string New = "sk-secret-new";
    private const int SigHup = 1;
    private readonly TempDirectory _directory = new();
    private readonly string _file;

    public KeyRotationTests()
    {
        _file = _directory.File("key");
        File.WriteAllText(_file, Old + "\n");
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Key_replaced_before_the_old_one_is_refused_costs_no_reader_anything()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var valid = Old;
        var answer = upstream.Scenario;
        upstream.Scenario = exchange => exchange.Request.Headers["Authorization"] == "Bearer " + valid
            ? answer(exchange)
            : exchange.RespondAsync(401, "application/json", "{}");
        await using var daemon = await StartAsync(upstream);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        await File.WriteAllTextAsync(_file, New + "\n");
        valid = New;
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        Assert.Contains("streaming_daemon_upstream_retries_total{reason=\"Unauthorized\"} 1",
            await daemon.MetricsAsync(), StringComparison.Ordinal);
        Assert.DoesNotContain("sk-secret", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Key_of_the_file_is_taken_over_on_sighup_and_named_without_its_value()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        await using var daemon = await StartAsync(upstream);

        await File.WriteAllTextAsync(_file, New);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\":\"openai.api_key\"").Count == 1);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);
        Assert.Equal("Bearer " + New, Assert.Single(upstream.Requests).Headers["Authorization"]);

        // A file that is no key changes nothing.
        await File.WriteAllTextAsync(_file, "\"sk-secret-quoted\"");
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("not reloaded").Count == 1);
        Assert.Contains("OPENAI_API_KEY_FILE", daemon.LogLines("not reloaded")[0], StringComparison.Ordinal);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);
        Assert.DoesNotContain("sk-secret", daemon.ErrorText, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Client_certificate_is_taken_over_on_sighup_and_a_bad_one_is_not()
    {
        await using var upstream = await FakeLlmServer.StartAsync(
            FakeLlmTransport.Http2Tls, wantsClientCertificate: true);
        var seen = new System.Collections.Concurrent.ConcurrentQueue<string?>();
        upstream.Scenario = exchange =>
        {
            seen.Enqueue(exchange.Context.Connection.ClientCertificate?.Thumbprint);
            return FakeLlmScenarios.RunAsync(exchange);
        };
        var pem = _directory.File("client.pem");
        var first = await WriteCertificateAsync(pem);
        var environment = upstream.OpenAIEnvironment(true);
        environment["OPENAI_CLIENT_CERT_FILE"] = pem;
        environment["OPENAI_INSECURE_SSL"] = "true";
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        var second = await WriteCertificateAsync(pem);
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\":\"openai.client_cert_file\"").Count == 1);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        await File.WriteAllTextAsync(pem, "torn");
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("not reloaded").Count == 1);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        Assert.Equal([first, second, second], seen);
    }

    [Fact]
    public async Task Certificates_behind_a_swapped_link_are_taken_over_without_a_signal_and_broken_ones_are_not()
    {
        await using var upstream = await FakeLlmServer.StartAsync(
            FakeLlmTransport.Http2Tls, wantsClientCertificate: true);
        var seen = new System.Collections.Concurrent.ConcurrentQueue<string?>();
        upstream.Scenario = exchange =>
        {
            seen.Enqueue(exchange.Context.Connection.ClientCertificate?.Thumbprint);
            return FakeLlmScenarios.RunAsync(exchange);
        };
        // As Kubernetes mounts a secret: the files are links into a directory that is itself a link, which is swapped.
        var first = await WriteVersionAsync("1", upstream.CertificatePem);
        foreach (var name in (string[])["ca.crt", "tls.pem"])
            File.CreateSymbolicLink(_directory.File(name), Path.Combine("..data", name));
        var environment = upstream.OpenAIEnvironment(true);
        environment.Remove("OPENAI_INSECURE_SSL");
        environment["OPENAI_CA_FILE"] = _directory.File("ca.crt");
        environment["OPENAI_CLIENT_CERT_FILE"] = _directory.File("tls.pem");
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        var second = await WriteVersionAsync("2", upstream.CertificatePem);
        await Eventually.TrueAsync(() => daemon.LogLines("CertificatesRenewed").Count == 1, TestClient.Patience);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        await WriteVersionAsync("3", "torn");
        await Eventually.TrueAsync(() => daemon.LogLines("CertificatesKept").Count == 1, 2 * TestClient.Patience);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        Assert.Equal([first, second, second], seen);
        Assert.Contains("OPENAI_CA_FILE", daemon.LogLines("CertificatesKept")[0], StringComparison.Ordinal);
    }

    /// <returns>The client certificate's thumbprint.</returns>
    private async Task<string> WriteVersionAsync(string version, string authorities)
    {
        var directory = Directory.CreateDirectory(_directory.File(".." + version)).FullName;
        await File.WriteAllTextAsync(Path.Combine(directory, "ca.crt"), authorities);
        var thumbprint = await WriteCertificateAsync(Path.Combine(directory, "tls.pem"));
        File.CreateSymbolicLink(_directory.File("..new"), ".." + version);
        // rename(2): File.Move does not take a link to a directory.
        Posix.Rename(_directory.File("..new"), _directory.File("..data"));
        return thumbprint;
    }

    /// <returns>The certificate's thumbprint.</returns>
    private static async Task<string> WriteCertificateAsync(string path)
    {
        using var certificate = SelfSignedCertificate.Create();
        using var key = certificate.GetECDsaPrivateKey()!;
        await File.WriteAllTextAsync(
            path, certificate.ExportCertificatePem() + "\n" + key.ExportPkcs8PrivateKeyPem() + "\n");
        return certificate.Thumbprint;
    }

    [Fact]
    public async Task Key_that_is_a_credential_of_the_unit_is_found_in_the_directory_that_systemd_names()
    {
        await using var upstream = await FakeLlmServer.StartAsync();
        var environment = upstream.OpenAIEnvironment(false);
        environment.Remove("OPENAI_API_KEY");
        environment["OPENAI_API_KEY_FILE"] = "$CREDENTIALS_DIRECTORY/key";

        var (exitCode, _, error) = await DaemonProcess.RunAsync(environment, "check", "--backend", "openai");
        Assert.Equal(2, exitCode);
        Assert.Contains("$CREDENTIALS_DIRECTORY/key: only a service of systemd with LoadCredential= has this directory",
            error, StringComparison.Ordinal);

        environment["CREDENTIALS_DIRECTORY"] = _directory.Path;
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);
        Assert.Equal("Bearer " + Old, Assert.Single(upstream.Requests).Headers["Authorization"]);
    }

    private Task<DaemonProcess> StartAsync(FakeLlmServer upstream)
    {
        var environment = upstream.OpenAIEnvironment(false);
        environment.Remove("OPENAI_API_KEY");
        environment["OPENAI_API_KEY_FILE"] = _file;
        return DaemonProcess.StartAsync(environment, true, "--backend", "openai");
    }
}
