using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads <c>user_id</c>: an integer or a text.</summary>
internal static class UserIdReader
{
    /// <summary>Longest text that is kept, UTF-16 units: the log shows no more. A longer one is kept as its
    /// hash, so that two users stay two users.</summary>
    public const int MaxLength = 128;

    /// <summary>Doubles above it are not exact integers.</summary>
    private const double MaxReal = 9e18;

    /// <returns>None if the value is neither, or is empty.</returns>
    public static UserId Read(ref Utf8JsonReader reader)
    {
        reader.Read();
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return OfText(JsonText.Read(ref reader).Trim());
            case JsonTokenType.Number when reader.TryGetInt64(out var value):
                return value;
            // More digits than 64 bits hold.
            case JsonTokenType.Number when !reader.ValueSpan.ContainsAny(".eE"u8):
                return OfText(Encoding.UTF8.GetString(reader.ValueSpan));
            case JsonTokenType.Number when reader.TryGetDouble(out var real)
                && real == Math.Floor(real) && Math.Abs(real) < MaxReal:
                return (long)real;
            default:
                reader.Skip();
                return default;
        }
    }

    private static UserId OfText(string text) => text.Length switch
    {
        0 => default,
        <= MaxLength => new UserId(text),
        _ => new UserId($"sha256-{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))}"),
    };
}
