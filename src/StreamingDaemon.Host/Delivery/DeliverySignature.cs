using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Signatures of Standard Webhooks: HMAC-SHA256 over id, timestamp and body.</summary>
internal static class DeliverySignature
{
    /// <summary>Computes <c>webhook-signature</c>; the body is read to its end.</summary>
    /// <param name="key"><see cref="Configuration.WebhookSecret.TryReadKey"/>.</param>
    /// <param name="id">The header <c>webhook-id</c>.</param>
    /// <param name="timestamp">The header <c>webhook-timestamp</c>: Unix seconds.</param>
    /// <param name="body">The request's body.</param>
    public static string Of(byte[] key, string id, long timestamp, Stream body)
    {
        using var hmac = IncrementalHash.CreateHMAC(HashAlgorithmName.SHA256, key);
        hmac.AppendData(Encoding.ASCII.GetBytes(
            string.Create(CultureInfo.InvariantCulture, $"{id}.{timestamp}.")));
        Span<byte> buffer = stackalloc byte[8192];
        while (body.Read(buffer) is > 0 and var read)
            hmac.AppendData(buffer[..read]);
        return "v1," + Convert.ToBase64String(hmac.GetHashAndReset());
    }
}
