using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using Microsoft.Extensions.Logging;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Hosting;

/// <summary>Each look is made by the test; <c>KeyRotationTests</c> has the whole daemon.</summary>
public sealed class CertificateWatchTests : IDisposable
{
    private static readonly IReadOnlyList<FileOption> s_files = new OpenAIDescriptor().Files;
    private readonly TempDirectory _directory = new();
    private readonly Lines _log = new();
    private readonly string _certificate;
    private readonly string _key;
    private readonly ReloadableOptions _options;

    public CertificateWatchTests()
    {
        (_certificate, _key) = (_directory.File("tls.crt"), _directory.File("tls.key"));
        var (certificate, key) = NewPair();
        File.WriteAllText(_certificate, certificate);
        File.WriteAllText(_key, key);
        var options = new DaemonOptions();
        _options = new ReloadableOptions(options with
        {
            Backends = options.Backends.With("openai", s_files[2].Content.Set(s_files[1].Content.Set(
                new OpenAIOptions { ApiKey = "sk-1", ClientCertFile = _certificate, ClientKeyFile = _key },
                certificate), key)),
        });
    }

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void Pair_replaced_on_disk_is_taken_over_and_an_unchanged_one_is_not()
    {
        var watch = Watch();
        var heard = 0;
        _options.OnChange(_ => heard++);
        watch.Look();
        Assert.Equal(0, heard);

        var (certificate, key) = NewPair();
        Replace(_certificate, certificate);
        Replace(_key, key);
        watch.Look();
        watch.Look();

        Assert.Equal((certificate, key), (CertificateOf(Current), KeyOf(Current)));
        Assert.Equal(1, heard);
        Assert.Equal("CertificatesRenewed: openai.client_cert_file, openai.client_key_file changed on disk: "
            + "new connections use the new content", Assert.Single(_log));
    }

    [Fact]
    public void Reload_that_read_the_files_before_they_changed_does_not_bring_the_old_ones_back()
    {
        var watch = Watch();
        var before = _options.Current;
        var (certificate, key) = NewPair();
        Replace(_certificate, certificate);
        Replace(_key, key);
        watch.Look();
        Assert.Equal(certificate, CertificateOf(Current));

        _options.Apply(before);
        Assert.NotEqual(certificate, CertificateOf(Current));
        watch.Look();

        Assert.Equal((certificate, key), (CertificateOf(Current), KeyOf(Current)));
    }

    [Fact]
    public void Half_of_a_pair_waits_for_the_other_without_a_word()
    {
        var watch = Watch();
        var before = CertificateOf(Current);
        var (certificate, key) = NewPair();
        Replace(_certificate, certificate);
        watch.Look();
        Assert.Equal(before, CertificateOf(Current));

        Replace(_key, key);
        watch.Look();

        Assert.Equal(certificate, CertificateOf(Current));
        Assert.StartsWith("CertificatesRenewed", Assert.Single(_log), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("torn", "OPENAI_CLIENT_KEY_FILE {0}: holds no private key in PEM")]
    [InlineData(null, "{0}: cannot be read: No such file or directory")]
    public void File_that_cannot_be_used_keeps_the_old_one_with_one_warning(string? content, string problem)
    {
        var watch = Watch();
        var before = Current;
        if (content is null)
            File.Delete(_key);
        else
            Replace(_key, content);
        for (var i = 0; i < 5; i++)
            watch.Look();

        Assert.Equal(before, Current);
        var line = Assert.Single(_log);
        Assert.StartsWith("CertificatesKept: certificates not reloaded, new connections use the old ones: ", line,
            StringComparison.Ordinal);
        Assert.EndsWith(string.Format(null, problem, _key), line, StringComparison.Ordinal);

        // Put right, and wrong again: that is another warning.
        Replace(_key, KeyOf(before)!);
        watch.Look();
        Replace(_key, "torn again");
        watch.Look();
        watch.Look();
        Assert.Equal(2, _log.Count);
    }

    [Fact]
    public void Renewed_certificate_that_has_expired_is_named_once()
    {
        var watch = Watch();
        var (certificate, key) = NewPair(TimeSpan.FromDays(-20), TimeSpan.FromDays(-1));
        Replace(_certificate, certificate);
        Replace(_key, key);
        // The daemon's listener logs it.
        _options.OnChange(options => _log.Enqueue(new OpenAIDescriptor().Warn((object)Of(options))!));
        for (var i = 0; i < 3; i++)
            watch.Look();

        Assert.Single(_log, line => line.Contains("expired on", StringComparison.Ordinal));
    }

    [Fact]
    public async Task Certificate_that_expires_while_the_daemon_runs_is_named_once()
    {
        var (certificate, key) = NewPair(TimeSpan.FromDays(-20), TimeSpan.FromSeconds(2));
        Replace(_certificate, certificate);
        Replace(_key, key);
        var watch = Watch();
        watch.Look();
        Assert.StartsWith("CertificatesRenewed", Assert.Single(_log), StringComparison.Ordinal);

        await Eventually.TrueAsync(() =>
        {
            watch.Look();
            return _log.Count > 1;
        });
        watch.Look();

        Assert.Equal(2, _log.Count);
        Assert.Matches("BackendWarning: backend openai: OPENAI_CLIENT_CERT_FILE: .* expired on ", _log.Last());
    }

    private OpenAIOptions Current => Of(_options.Current);

    private static OpenAIOptions Of(DaemonOptions options) => (OpenAIOptions)options.Backends.Of("openai").Options;

    private static string? CertificateOf(OpenAIOptions options) => s_files[1].Content.Get(options);

    private static string? KeyOf(OpenAIOptions options) => s_files[2].Content.Get(options);

    private CertificateWatch Watch() => new(_options, _log);

    /// <summary>As a program that renews certificates does it.</summary>
    private static void Replace(string path, string content)
    {
        File.WriteAllText(path + ".new", content);
        File.Move(path + ".new", path, overwrite: true);
    }

    private static (string Certificate, string Key) NewPair(TimeSpan? from = null, TimeSpan? to = null)
    {
        using var certificate = from is null ? SelfSignedCertificate.Create() : SelfSignedCertificate.Create(from.Value, to!.Value);
        using var key = certificate.GetECDsaPrivateKey()!;
        return (certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem());
    }

    private sealed class Lines : ConcurrentQueue<string>, ILogger<CertificateWatch>
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter) => Enqueue($"{eventId.Name}: {formatter(state, exception)}");
    }
}
