using System.Net.Security;
using System.Security.Cryptography.X509Certificates;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Trusts the certificates of a file instead of the system's. Each of them is an anchor, a root or not, as
/// with curl, Go and OpenSSL's partial chains: an intermediate CA or the server's own certificate may stand
/// there alone. .NET asks for a root.
/// </summary>
public static class TrustedAuthorities
{
    /// <param name="options">Gets the policy.</param>
    /// <param name="authorities">The file's certificates.</param>
    public static void Set(SslClientAuthenticationOptions options, X509Certificate2Collection authorities)
    {
        ArgumentNullException.ThrowIfNull(options);
        ArgumentNullException.ThrowIfNull(authorities);
        var policy = new X509ChainPolicy
        {
            TrustMode = X509ChainTrustMode.CustomRootTrust,
            // As the default is: no revocation check, which would ask the authority before the first byte.
            RevocationMode = X509RevocationMode.NoCheck,
            DisableCertificateDownloads = true,
        };
        policy.CustomTrustStore.AddRange(authorities);
        policy.ExtraStore.AddRange(authorities);
        options.CertificateChainPolicy = policy;
        options.RemoteCertificateValidationCallback = (_, _, chain, errors) => errors == SslPolicyErrors.None
            || (errors == SslPolicyErrors.RemoteCertificateChainErrors && EndsIn(chain!, authorities));
    }

    /// <summary>Whether nothing is wrong with the chain but that it ends below a root, in one of the
    /// authorities.</summary>
    private static bool EndsIn(X509Chain chain, X509Certificate2Collection authorities) =>
        chain.ChainStatus.All(status => status.Status == X509ChainStatusFlags.PartialChain)
        && chain.ChainElements is [.., var last]
        && authorities.Any(one => one.RawDataMemory.Span.SequenceEqual(last.Certificate.RawDataMemory.Span));
}
