using System.Net.Security;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Host.Configuration;

/// <summary>A file with the certificates that a server's must lead to, in place of the system's.</summary>
internal static class AuthorityFile
{
    /// <summary>How to speak TLS to a server whose certificate must lead to the file's.</summary>
    /// <param name="option">The option that names the file.</param>
    /// <param name="path">The file; null for the system's certificates.</param>
    /// <exception cref="IOException">The file cannot be used; the message names it.</exception>
    public static SslClientAuthenticationOptions TlsOptions(string option, string? path)
    {
        var tls = new SslClientAuthenticationOptions();
        if (path is not null)
            TrustedAuthorities.Set(tls, Read(option, path));
        return tls;
    }

    /// <exception cref="IOException">The file cannot be used; the message names it.</exception>
    public static X509Certificate2Collection Read(string option, string path)
    {
        if (RegularFile.TryRead(path, out var pem) is { } problem)
            throw new IOException($"{option}: {ShownValue.Of(path)}: {problem}");
        var certificates = new X509Certificate2Collection();
        try
        {
            certificates.ImportFromPem(System.Text.Encoding.UTF8.GetString(pem));
        }
        catch (CryptographicException e)
        {
            throw new IOException($"{option}: {ShownValue.Of(path)}: {e.Message}", e);
        }

        return certificates.Count > 0 ? certificates
            : throw new IOException($"{option}: {ShownValue.Of(path)}: holds no certificate in PEM");
    }
}
