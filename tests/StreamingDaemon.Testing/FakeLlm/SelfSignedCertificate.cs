using System.Net;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace StreamingDaemon.Testing;

/// <summary>Creates a certificate for localhost that no client trusts.</summary>
public static class SelfSignedCertificate
{
    /// <summary>Makes a certificate with its key, valid from yesterday for a month.</summary>
    public static X509Certificate2 Create() => Create(TimeSpan.FromDays(-1), TimeSpan.FromDays(30));

    /// <summary>The same, for another time.</summary>
    /// <param name="from">When it begins, from now.</param>
    /// <param name="to">When it ends, from now.</param>
    public static X509Certificate2 Create(TimeSpan from, TimeSpan to)
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var names = new SubjectAlternativeNameBuilder();
        names.AddDnsName("localhost");
        names.AddIpAddress(IPAddress.Loopback);
        request.CertificateExtensions.Add(names.Build());
        var now = DateTimeOffset.UtcNow;
        return request.CreateSelfSigned(now + from, now + to);
    }
}
