using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Files for TLS with an upstream; all are PEM.</summary>
/// <param name="Ca">Certificates that the upstream's must lead to, instead of the system's: roots, or any
/// below them. Null: the system's.</param>
/// <param name="ClientCertificate">The certificate that the daemon shows, with those between it and its CA;
/// null: none.</param>
/// <param name="ClientKey">Its key; null if the certificate's file holds it.</param>
internal sealed record UpstreamTlsFiles(string? Ca, string? ClientCertificate, string? ClientKey)
{
    public static UpstreamTlsFiles None { get; } = new(null, null, null);

    /// <summary>What is in <see cref="Ca"/>, if it was read already.</summary>
    public string? CaPem { get; init; }

    /// <summary>What is in <see cref="ClientCertificate"/>, if it was read already.</summary>
    public string? ClientCertificatePem { get; init; }

    /// <summary>What is in <see cref="ClientKey"/>, if it was read already.</summary>
    public string? ClientKeyPem { get; init; }
}

/// <summary>What TLS with an upstream needs. Owns nothing that must be disposed early.</summary>
internal sealed class UpstreamTls
{
    private const int MaxFileBytes = 1 << 20;

    private const string Binary = "is not PEM, but binary (PKCS#12 or DER): convert it with openssl";

    private readonly X509Certificate2Collection? _authorities;
    private readonly SslStreamCertificateContext? _client;
    private readonly string? _clientPath;
    private readonly bool _trustsAnyCertificate;

    /// <exception cref="UpstreamTlsException">A file cannot be used.</exception>
    public UpstreamTls(UpstreamTlsFiles files, bool trustsAnyCertificate)
    {
        _trustsAnyCertificate = trustsAnyCertificate;
        if (files.Ca is { } ca)
            _authorities = Use(UpstreamTlsFile.Ca, ca, () => Certificates(Unmarked(files.CaPem ?? Read(ca))));
        if (files.ClientCertificate is { } certificate)
        {
            _client = ReadClient(files, certificate);
            _clientPath = certificate;
        }
        else if (files.ClientKey is { } key)
        {
            throw new UpstreamTlsException(
                UpstreamTlsFile.ClientKey, key, "there is no certificate for this key");
        }
    }

    /// <summary>Until when the client certificate is valid; null if there is none.</summary>
    public DateTimeOffset? ClientEnd => _client?.TargetCertificate.NotAfter;

    /// <summary>What the client certificate's dates say against it; null if nothing. A server may take it all
    /// the same, so it is shown.</summary>
    public string? ClientProblem(DateTimeOffset now)
    {
        if (_client?.TargetCertificate is not { } certificate)
            return null;
        var (from, to) = (certificate.NotBefore.ToUniversalTime(), certificate.NotAfter.ToUniversalTime());
        return now.UtcDateTime > to ? $"the certificate in {_clientPath} expired on {Day(to)}"
            : now.UtcDateTime < from ? $"the certificate in {_clientPath} is valid only from {Day(from)} on"
            : null;

        static string Day(DateTime date) =>
            date.ToString("yyyy-MM-dd HH:mm 'UTC'", CultureInfo.InvariantCulture);
    }

    /// <summary>The options for one client; each call makes new ones.</summary>
    [SuppressMessage("Security", "CA5359", Justification = "What the operator asked for.")]
    public SslClientAuthenticationOptions CreateOptions()
    {
        var options = new SslClientAuthenticationOptions { ClientCertificateContext = _client };
        if (_trustsAnyCertificate)
            options.RemoteCertificateValidationCallback = static (_, _, _, _) => true;
        else if (_authorities is not null)
            TrustedAuthorities.Set(options, _authorities);
        return options;
    }

    private static SslStreamCertificateContext ReadClient(UpstreamTlsFiles files, string certificate)
    {
        var key = files.ClientKey;
        var pem = Use(UpstreamTlsFile.ClientCertificate, certificate,
            () => Unmarked(files.ClientCertificatePem ?? Read(certificate)));
        var chain = Use(UpstreamTlsFile.ClientCertificate, certificate, () => Certificates(pem));
        var (keyFile, keyPath) = key is null
            ? (UpstreamTlsFile.ClientCertificate, certificate)
            : (UpstreamTlsFile.ClientKey, key);
        return Use(keyFile, keyPath, () =>
        {
            var keyPem = key is null ? pem : Unmarked(files.ClientKeyPem ?? Read(key));
            if (!keyPem.Contains("PRIVATE KEY-----", StringComparison.Ordinal))
                throw new CryptographicException(IsBinary(keyPem) ? Binary : "holds no private key in PEM");
            if (keyPem.Contains("ENCRYPTED", StringComparison.Ordinal))
                throw new CryptographicException("the key is encrypted, and the daemon has no passphrase");
            chain.RemoveAt(0);
            return SslStreamCertificateContext.Create(OwnOf(pem, keyPem, certificate), chain, offline: true);
        });
    }

    private static X509Certificate2 OwnOf(string pem, string keyPem, string path)
    {
        try
        {
            return X509Certificate2.CreateFromPem(pem, keyPem);
        }
        catch (ArgumentException exception) when (exception.ParamName == "privateKey")
        {
            throw new CryptographicException(
                $"is not the key of the first certificate in {path}; those of its CAs come after it");
        }
    }

    /// <summary>Without the byte order mark that Windows puts before a text: it hides the first line.
    /// </summary>
    private static string Unmarked(string pem) => pem.TrimStart('\ufeff');

    private static X509Certificate2Collection Certificates(string pem)
    {
        var certificates = new X509Certificate2Collection();
        certificates.ImportFromPem(pem);
        return certificates.Count > 0
            ? certificates
            : throw new CryptographicException(IsBinary(pem) ? Binary : "holds no certificate in PEM");
    }

    /// <summary>DER and PKCS#12 begin with a sequence, whose length is no text.</summary>
    private static bool IsBinary(string text) => text is ['0', < ' ' or > '~', ..];

    private static string Read(string path)
    {
        if (Directory.Exists(path))
            throw new IOException("is a directory");
        var file = new FileInfo(path);
        if (!file.Exists)
            throw new IOException("does not exist or cannot be reached");
        return file.Length <= MaxFileBytes
            ? File.ReadAllText(path)
            : throw new IOException($"is larger than {MaxFileBytes} bytes");
    }

    private static T Use<T>(UpstreamTlsFile file, string path, Func<T> read)
    {
        try
        {
            return read();
        }
        catch (UnauthorizedAccessException)
        {
            throw new UpstreamTlsException(file, path, "this user may not read it");
        }
        catch (Exception exception)
            when (exception is IOException or CryptographicException or ArgumentException)
        {
            throw new UpstreamTlsException(file, path, exception.Message);
        }
    }
}

/// <summary>Which of the files.</summary>
internal enum UpstreamTlsFile
{
    /// <summary><see cref="UpstreamTlsFiles.Ca"/></summary>
    Ca,

    /// <summary><see cref="UpstreamTlsFiles.ClientCertificate"/></summary>
    ClientCertificate,

    /// <summary><see cref="UpstreamTlsFiles.ClientKey"/></summary>
    ClientKey,
}

/// <summary>The message names the path and what is wrong with it.</summary>
internal sealed class UpstreamTlsException(UpstreamTlsFile file, string path, string problem)
    : Exception($"{path}: {problem}")
{
    public UpstreamTlsFile File => file;
}
