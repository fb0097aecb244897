using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads <c>delivery</c>: an object of the application's own, which comes back to it with the
/// finished answer.</summary>
internal static class DeliveryReader
{
    /// <returns>False if it is another field; the reader then has not moved.</returns>
    public static bool TryRead(ref Utf8JsonReader reader, ReadOnlySpan<byte> data, HandoffRequest request)
    {
        if (!JsonText.Equals(ref reader, "delivery"u8))
            return false;
        reader.Read();
        var token = reader.TokenType;
        var json = JsonText.Skip(ref reader, data);
        var isObject = token == JsonTokenType.StartObject;
        request.Delivery = isObject ? JsonText.Repair(json.ToArray()) : default(ReadOnlyMemory<byte>);
        // An empty array is PHP's empty object.
        var isNothing = token == JsonTokenType.Null
            || (token == JsonTokenType.StartArray && ParameterReader.IsEmptyArray(json));
        if (!isObject && !isNothing)
            request.NoteUnusable("delivery");
        return true;
    }
}
