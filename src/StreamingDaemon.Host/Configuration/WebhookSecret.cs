using System.Text;

namespace StreamingDaemon.Host.Configuration;

/// <summary>The secret that signs deliveries, as Standard Webhooks write it. No message shows it.</summary>
internal static class WebhookSecret
{
    private const string Base64Prefix = "whsec_";

    /// <summary>Most secrets in a file: the new one and those before it.</summary>
    private const int Most = 4;

    /// <summary>Between the secrets of a file, as the option holds them. No secret holds it.</summary>
    private const char Separator = '\n';

    /// <summary>The keys of all secrets, which were checked when they were read.</summary>
    public static IEnumerable<byte[]> KeysOf(string secrets)
    {
        foreach (var secret in secrets.Split(Separator))
        {
            if (TryReadKey(secret, out var key))
                yield return key;
        }
    }

    /// <summary>Reads a secret: <c>whsec_</c> and base64, or the bytes themselves.</summary>
    /// <returns>False if no base64 follows <c>whsec_</c>, or nothing does.</returns>
    public static bool TryReadKey(string secret, out byte[] key)
    {
        key = [];
        if (!secret.StartsWith(Base64Prefix, StringComparison.Ordinal))
        {
            key = Encoding.UTF8.GetBytes(secret);
            return key.Length > 0;
        }

        var base64 = secret[Base64Prefix.Length..];
        // Encoders differ in whether they pad.
        var padded = base64.PadRight((base64.Length + 3) / 4 * 4, '=');
        var room = new byte[padded.Length];
        if (!Convert.TryFromBase64String(padded, room, out var length) || length == 0)
            return false;
        key = room[..length];
        return true;
    }

    /// <summary>Reads the secret's file, if one is named, and checks the secret if deliveries are on.
    /// </summary>
    public static DaemonOptions Fill(DaemonOptions options, ConfigurationErrors errors)
    {
        var delivery = options.Delivery;
        if (delivery.SecretFile is { } path)
        {
            if (delivery.Secret.Length > 0)
                errors.Add("delivery.secret_file", "delivery.secret is set too; keep one of the two");
            else if (SecretFile.TryReadAll(path, Most, out var secrets) is { } problem)
                errors.Add("delivery.secret_file", $"{ShownValue.Of(path)}: {problem}");
            else
                delivery = delivery with { Secret = string.Join(Separator, secrets) };
        }

        if (delivery.Url is not null && Problem(delivery) is { } wrong)
            errors.Add(delivery.SecretFile is null ? "delivery.secret" : "delivery.secret_file", wrong);
        return options with { Delivery = delivery };
    }

    private static string? Problem(DeliveryOptions delivery)
    {
        if (delivery.Secret.Split(Separator).All(secret => TryReadKey(secret, out _)))
            return null;
        if (delivery.Secret.Length > 0)
            return "no base64 follows whsec_; expected whsec_ and base64, or a text that does not begin so";
        // The file has its own message.
        return delivery.SecretFile is not null ? null
            : "delivery.url is set, so deliveries are signed: name a file with the secret in "
                + "delivery.secret_file, and give the receiver the same";
    }
}
