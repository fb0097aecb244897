using System.Collections.Concurrent;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Authentication;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class UpstreamTlsTests : IDisposable
{
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Theory]
    [InlineData(FakeLlmTransport.Http1Tls)]
    [InlineData(FakeLlmTransport.Http2Tls)]
    public async Task Certificate_that_the_ca_file_vouches_for_is_trusted_and_no_other(FakeLlmTransport transport)
    {
        await using var server = await FakeLlmServer.StartAsync(transport, streamsPerConnection: 1);
        await using var other = await FakeLlmServer.StartAsync(transport);
        foreach (var (vouched, expected) in new[] { (server, true), (other, false) })
        {
            var ca = Write("ca.pem", vouched.CertificatePem);
            using var backend = BackendUnderTest.WithoutBackoff(OptionsFor(server) with { CaFile = ca });
            for (var i = 0; i < 3; i++)
            {
                var result = await StreamAsync(backend);
                Assert.Equal(expected ? null : UpstreamFault.Tls, result.Fault);
            }
        }
    }

    [Theory]
    [InlineData("root", "leaf intermediate", true)]
    [InlineData("root", "leaf", false)]
    [InlineData("root intermediate", "leaf", true)]
    // As with curl and Go, a certificate of the file is trusted as it stands there.
    [InlineData("intermediate", "leaf", true)]
    [InlineData("intermediate", "leaf intermediate", true)]
    [InlineData("intermediate", "leaf intermediate root", true)]
    [InlineData("leaf", "leaf", true)]
    [InlineData("other", "leaf intermediate", false)]
    [InlineData("other intermediate", "leaf", true)]
    [InlineData("old", "leaf-of-old", false)]
    [InlineData("intermediate", "leaf-elsewhere", false)]
    public async Task Any_certificate_of_the_ca_file_is_an_anchor(string file, string sent, bool isTrusted)
    {
        var chain = new TestChain();
        using var tls = new SslStreamPair();
        var client = new SslClientAuthenticationOptions { TargetHost = "localhost" };
        TrustedAuthorities.Set(client, [.. file.Split(' ').Select(name => chain[name])]);
        var certificates = sent.Split(' ').Select(name => chain[name]).ToArray();
        var serving = tls.Server.AuthenticateAsServerAsync(new SslServerAuthenticationOptions
        {
            ServerCertificateContext = SslStreamCertificateContext.Create(
                certificates[0], [.. certificates[1..]], offline: true),
        });

        var trusting = tls.Client.AuthenticateAsClientAsync(client);

        if (isTrusted)
            await trusting.WithinLimit();
        else
            await Assert.ThrowsAsync<AuthenticationException>(() => trusting.WithinLimit());
        tls.Client.Dispose();
        await serving.ContinueWith(_ => { }, TaskScheduler.Default);
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Client_certificate_is_shown_to_a_server_that_wants_one(bool inOneFile)
    {
        await using var server = await FakeLlmServer.StartAsync(
            FakeLlmTransport.Http2Tls, streamsPerConnection: 1, wantsClientCertificate: true);
        using var certificate = SelfSignedCertificate.Create();
        var (pem, key) = (certificate.ExportCertificatePem(), KeyOf(certificate));
        var seen = new List<string?>();
        server.Scenario = exchange =>
        {
            seen.Add(exchange.Context.Connection.ClientCertificate?.Thumbprint);
            return FakeLlmScenarios.RunAsync(exchange);
        };
        using var backend = BackendUnderTest.WithoutBackoff(OptionsFor(server) with
        {
            InsecureSsl = true,
            ClientCertFile = Write("client.pem", inOneFile ? key + "\n" + pem : pem),
            ClientKeyFile = inOneFile ? null : Write("client.key", key),
        });

        for (var i = 0; i < 3; i++)
            Assert.Equal(StreamOutcome.Completed, (await StreamAsync(backend)).Outcome);

        Assert.Equal(Enumerable.Repeat(certificate.Thumbprint, 3), seen);
    }

    [Fact]
    public async Task Other_certificates_are_for_new_connections_and_end_no_stream()
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls, wantsClientCertificate: true);
        using var first = SelfSignedCertificate.Create();
        using var second = SelfSignedCertificate.Create();
        var seen = new ConcurrentQueue<string?>();
        var holds = new TaskCompletionSource();
        server.Scenario = async exchange =>
        {
            seen.Enqueue(exchange.Context.Connection.ClientCertificate?.Thumbprint);
            if (seen.Count == 1)
                await holds.Task;
            await FakeLlmScenarios.RunAsync(exchange);
        };
        var options = OptionsFor(server) with
        {
            InsecureSsl = true,
            ClientCertFile = "client.pem",
            ClientCertPem = KeyOf(first) + "\n" + first.ExportCertificatePem(),
        };
        using var backend = BackendUnderTest.WithoutBackoff(options);
        var running = StreamAsync(backend);
        await Eventually.TrueAsync(() => seen.Count == 1);

        backend.Apply(options);
        backend.Apply(options with { ClientCertPem = KeyOf(second) + "\n" + second.ExportCertificatePem() });
        Assert.Equal(StreamOutcome.Completed, (await StreamAsync(backend)).Outcome);
        holds.SetResult();

        Assert.Equal(StreamOutcome.Completed, (await running).Outcome);
        Assert.Equal([first.Thumbprint, second.Thumbprint], seen);
    }

    [Fact]
    public async Task Server_that_wants_a_client_certificate_and_gets_none_is_an_error()
    {
        await using var server = await FakeLlmServer.StartAsync(
            FakeLlmTransport.Http1Tls, wantsClientCertificate: true);
        using var backend = BackendUnderTest.WithoutBackoff(OptionsFor(server) with { InsecureSsl = true });
        Assert.Equal(StreamOutcome.UpstreamError, (await StreamAsync(backend)).Outcome);
        Assert.Empty(server.Requests);
    }

    [Theory]
    [InlineData(-20, -1, 400, "expired on 2")]
    [InlineData(-20, -1, 403, "expired on 2")]
    [InlineData(1, 20, 495, "is valid only from 2")]
    [InlineData(-1, 20, 400, null)]
    public async Task Client_certificate_out_of_its_time_is_named_when_the_server_refuses(
        int from, int to, int status, string? words)
    {
        await using var server = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1Tls, wantsClientCertificate: true);
        server.Scenario = exchange => exchange.RespondAsync(status, "text/html", "<html>The SSL certificate error</html>");
        using var certificate = SelfSignedCertificate.Create(TimeSpan.FromDays(from), TimeSpan.FromDays(to));
        var path = Write("client.pem", KeyOf(certificate) + "\n" + certificate.ExportCertificatePem());
        var options = OptionsFor(server) with { InsecureSsl = true, ClientCertFile = path };
        using var backend = BackendUnderTest.WithoutBackoff(options);

        var result = await StreamAsync(backend);
        var warning = new OpenAIDescriptor().Warn((object)options);
        var finding = new OpenAIDescriptor().Checks((object)options).Single().Look();

        Assert.Equal(status, result.UpstreamStatus);
        Assert.Equal(words is null, finding.IsGood);
        if (words is null)
        {
            Assert.DoesNotContain("certificate", result.Reason, StringComparison.Ordinal);
            Assert.Null(warning);
            Assert.StartsWith($"OPENAI_CLIENT_CERT_FILE {path}: valid until 2", finding.Detail, StringComparison.Ordinal);
            return;
        }

        Assert.Contains($"; the certificate in {path} {words}", result.Reason, StringComparison.Ordinal);
        Assert.StartsWith($"OPENAI_CLIENT_CERT_FILE: the certificate in {path} {words}", warning, StringComparison.Ordinal);
        Assert.Equal(warning, finding.Detail);
    }

    [Fact]
    public void File_that_cannot_be_used_is_refused_by_its_variable_its_path_and_what_is_wrong()
    {
        using var certificate = SelfSignedCertificate.Create();
        using var other = SelfSignedCertificate.Create();
        var good = Write("good.pem", certificate.ExportCertificatePem());
        var key = Write("good.key", KeyOf(certificate));
        using var ec = certificate.GetECDsaPrivateKey()!;
        var encrypted = Write("encrypted.key", ec.ExportEncryptedPkcs8PrivateKeyPem("secret",
            new PbeParameters(PbeEncryptionAlgorithm.Aes128Cbc, HashAlgorithmName.SHA256, 1)));
        var empty = Write("empty.pem", "");
        var none = Path.Combine(_directory.Path, "none");

        Assert.Null(Problem(null, good, key));
        Assert.Null(Problem(null, Write("mark.pem", "\ufeff" + certificate.ExportCertificatePem()),
            Write("mark.key", "\ufeff" + KeyOf(certificate))));
        Assert.Equal($"OPENAI_CA_FILE {none}: does not exist or cannot be reached", Problem(none, null, null));
        Assert.Equal($"OPENAI_CA_FILE {empty}: holds no certificate in PEM", Problem(empty, null, null));
        Assert.Equal($"OPENAI_CA_FILE {_directory.Path}: is a directory", Problem(_directory.Path, null, null));
        Assert.Equal($"OPENAI_CLIENT_CERT_FILE {key}: holds no certificate in PEM", Problem(null, key, key));
        Assert.Equal($"OPENAI_CLIENT_CERT_FILE {good}: holds no private key in PEM", Problem(null, good, null));
        Assert.Equal($"OPENAI_CLIENT_KEY_FILE {good}: holds no private key in PEM", Problem(null, good, good));
        Assert.Equal($"OPENAI_CLIENT_KEY_FILE {encrypted}: the key is encrypted, and the daemon has no passphrase",
            Problem(null, good, encrypted));
        Assert.Equal($"OPENAI_CLIENT_KEY_FILE {key}: there is no certificate for this key", Problem(null, null, key));
        Assert.Equal($"OPENAI_CLIENT_KEY_FILE {_directory.File("other.key")}: is not the key of the first certificate"
            + $" in {good}; those of its CAs come after it", Problem(null, good, Write("other.key", KeyOf(other))));
        var binary = _directory.File("client.p12");
        File.WriteAllBytes(binary, certificate.Export(X509ContentType.Pkcs12, "secret"));
        const string convert = "is not PEM, but binary (PKCS#12 or DER): convert it with openssl";
        Assert.Equal($"OPENAI_CA_FILE {binary}: {convert}", Problem(binary, null, null));
        Assert.Equal($"OPENAI_CLIENT_CERT_FILE {binary}: {convert}", Problem(null, binary, null));
        Assert.Equal($"OPENAI_CLIENT_KEY_FILE {binary}: {convert}", Problem(null, good, binary));
        Assert.StartsWith("OPENAI_CA_FILE ", Problem(Write("torn.pem",
            "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"), null, null), StringComparison.Ordinal);
    }

    private static string? Problem(string? ca, string? certificate, string? key) =>
        new OpenAIDescriptor().Validate((object)new OpenAIOptions
        {
            ApiKey = BackendUnderTest.ApiKey,
            CaFile = ca,
            ClientCertFile = certificate,
            ClientKeyFile = key,
        });

    private static OpenAIOptions OptionsFor(FakeLlmServer server) =>
        new() { ApiKey = BackendUnderTest.ApiKey, ApiBase = server.BaseAddress };

    private static Task<BackendResult> StreamAsync(OpenAIBackend backend) =>
        backend.StreamAsync(BackendUnderTest.Prompt, new RecordingSink(), default).WithinLimit();

    private static string KeyOf(X509Certificate2 certificate)
    {
        using var key = certificate.GetECDsaPrivateKey()!;
        return key.ExportPkcs8PrivateKeyPem();
    }

    private string Write(string name, string text)
    {
        var path = _directory.File(name);
        File.WriteAllText(path, text);
        return path;
    }

    /// <summary>A root, an intermediate CA of it, and a server's certificate of that one, for localhost.
    /// </summary>
    private sealed class TestChain
    {
        private readonly Dictionary<string, X509Certificate2> _certificates = [];

        public TestChain()
        {
            Add("root", null, days: 9, isAuthority: true);
            Add("intermediate", "root", days: 3, isAuthority: true);
            Add("leaf", "intermediate", days: 2, isAuthority: false);
            Add("leaf-elsewhere", "intermediate", days: 2, isAuthority: false, host: "example.com");
            Add("other", null, days: 9, isAuthority: true);
            Add("old", "root", days: -3, isAuthority: true);
            Add("leaf-of-old", "old", days: -4, isAuthority: false);
        }

        public X509Certificate2 this[string name] => _certificates[name];

        /// <param name="name">Its own name.</param>
        /// <param name="issuer">Its issuer's; null for itself.</param>
        /// <param name="days">The day on which it ends, from today.</param>
        /// <param name="isAuthority">Whether it may issue others.</param>
        /// <param name="host">The server that it is for.</param>
        private void Add(string name, string? issuer, int days, bool isAuthority, string host = "localhost")
        {
            var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
            var request = new CertificateRequest($"CN={name}", key, HashAlgorithmName.SHA256);
            request.CertificateExtensions.Add(new X509BasicConstraintsExtension(isAuthority, false, 0, true));
            var names = new SubjectAlternativeNameBuilder();
            names.AddDnsName(host);
            request.CertificateExtensions.Add(names.Build());
            var today = DateTimeOffset.UtcNow;
            var (begin, end) = (today.AddDays(-9), today.AddDays(days));
            using var bare = issuer is null ? request.CreateSelfSigned(begin, end)
                : request.Create(_certificates[issuer], begin, end, Guid.NewGuid().ToByteArray());
            using var made = bare.HasPrivateKey ? bare : bare.CopyWithPrivateKey(key);
            // Loaded again: a server does not take a key that lives in memory alone everywhere.
            _certificates[name] = X509CertificateLoader.LoadPkcs12(made.Export(X509ContentType.Pkcs12), null);
        }
    }

    /// <summary>Two ends of TLS over a connection of this process.</summary>
    private sealed class SslStreamPair : IDisposable
    {
        private readonly Socket _listener = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);

        public SslStreamPair()
        {
            _listener.Bind(new IPEndPoint(IPAddress.Loopback, 0));
            _listener.Listen();
            var client = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            client.Connect(_listener.LocalEndPoint!);
            Client = new SslStream(new NetworkStream(client, ownsSocket: true));
            Server = new SslStream(new NetworkStream(_listener.Accept(), ownsSocket: true));
        }

        public SslStream Client { get; }

        public SslStream Server { get; }

        public void Dispose()
        {
            Client.Dispose();
            Server.Dispose();
            _listener.Dispose();
        }
    }
}
