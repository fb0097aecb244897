using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace StreamingDaemon.ApacheTests;

/// <summary>A self-signed certificate with its key, in one file, as mod_ssl needs it.</summary>
internal sealed class TemporaryCertificate : IDisposable
{
    public TemporaryCertificate()
    {
        using var key = ECDsa.Create(ECCurve.NamedCurves.nistP256);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256);
        var now = DateTimeOffset.UtcNow;
        using var certificate = request.CreateSelfSigned(now.AddDays(-1), now.AddDays(1));
        string[] parts = [certificate.ExportCertificatePem(), key.ExportPkcs8PrivateKeyPem()];
        File.WriteAllLines(Path, parts);
    }

    public string Path { get; } = System.IO.Path.GetTempFileName();

    public void Dispose() => File.Delete(Path);
}
