using System.Buffers.Text;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads handoff data into a <see cref="HandoffRequest"/>.</summary>
internal static class HandoffRequestReader
{
    private static readonly JsonReaderOptions ReaderOptions = new() { MaxDepth = 64 };

    /// <summary>
    /// Reads a JSON object, with NULs and white space around it allowed; nothing at all is an empty object.
    /// </summary>
    /// <returns>False where the data is no JSON object; the request then holds a request id and
    /// defaults.</returns>
    public static bool TryRead(ReadOnlySpan<byte> data, out HandoffRequest request)
    {
        data = data.Trim("\0 \t\r\n"u8);
        if (data.IsEmpty)
        {
            request = new HandoffRequest { RequestId = RequestId.Next() };
            return true;
        }

        try
        {
            var reader = new Utf8JsonReader(data, ReaderOptions);
            if (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
            {
                request = ReadObject(ref reader);
                // Whatever stands behind the object makes it malformed.
                if (!reader.Read())
                    return true;
            }
        }
        catch (JsonException)
        {
            // Malformed, or nested deeper than any handoff is.
        }

        request = new HandoffRequest { RequestId = RequestId.Next() };
        return false;
    }

    private static HandoffRequest ReadObject(ref Utf8JsonReader reader)
    {
        var request = new HandoffRequest();
        string? requestId = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            // Duplicates: the last one wins, as in PHP and Go.
            if (JsonText.Equals(ref reader, "prompt"u8))
                request = request with { Prompt = ReadString(ref reader) ?? request.Prompt };
            else if (JsonText.Equals(ref reader, "messages"u8))
                request = request with { Messages = ReadMessages(ref reader) };
            else if (JsonText.Equals(ref reader, "user_id"u8))
                request = request with { UserId = ReadInteger(ref reader) ?? request.UserId };
            else if (JsonText.Equals(ref reader, "model"u8))
                request = request with { Model = NotEmpty(ReadString(ref reader)) ?? request.Model };
            else if (JsonText.Equals(ref reader, "max_tokens"u8))
                request = request with { MaxTokens = Positive(ReadInteger(ref reader)) };
            else if (JsonText.Equals(ref reader, "temperature"u8))
                request = request with { Temperature = ReadNumber(ref reader) };
            else if (JsonText.Equals(ref reader, "system"u8))
                request = request with { System = NotEmpty(ReadString(ref reader)) };
            else if (JsonText.Equals(ref reader, "request_id"u8))
                requestId = ReadRequestId(ref reader);
            else if (JsonText.Equals(ref reader, "test_pattern"u8))
                request = request with { TestPattern = NotEmpty(ReadString(ref reader)) };
            else if (JsonText.Equals(ref reader, "backend"u8))
                request = request with { Backend = NotEmpty(ReadString(ref reader)) };
            else if (JsonText.Equals(ref reader, "response_headers"u8))
                request = request with { ResponseHeaders = ResponseHeaderReader.Read(ref reader) };
            else
                reader.Skip();
        }

        return request with { RequestId = RequestId.FromApplication(requestId) };
    }

    private static string? NotEmpty(string? value) => string.IsNullOrEmpty(value) ? null : value;

    private static int? Positive(long? value) =>
        value is > 0 ? (int)Math.Min(value.Value, int.MaxValue) : null;

    private static string? ReadString(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.String)
            return JsonText.Read(ref reader);
        reader.Skip();
        return null;
    }

    /// <summary>A number, or a string that holds one: PHP applications send both.</summary>
    private static long? ReadInteger(ref Utf8JsonReader reader)
    {
        reader.Read();
        switch (reader.TokenType)
        {
            case JsonTokenType.Number when reader.TryGetInt64(out var value):
                return value;
            case JsonTokenType.Number when reader.TryGetDouble(out var real)
                && real == Math.Floor(real) && Math.Abs(real) < 9e18:
                return (long)real;
            case JsonTokenType.String:
                var text = JsonText.Read(ref reader).AsSpan().Trim();
                return long.TryParse(text, System.Globalization.NumberStyles.AllowLeadingSign,
                    System.Globalization.CultureInfo.InvariantCulture, out var parsed) ? parsed : null;
            default:
                reader.Skip();
                return null;
        }
    }

    private static double? ReadNumber(ref Utf8JsonReader reader)
    {
        reader.Read();
        switch (reader.TokenType)
        {
            case JsonTokenType.Number when reader.TryGetDouble(out var value) && double.IsFinite(value):
                return value;
            case JsonTokenType.String
                when Utf8Parser.TryParse(reader.ValueSpan, out double parsed, out var used)
                && used == reader.ValueSpan.Length && double.IsFinite(parsed):
                return parsed;
            default:
                reader.Skip();
                return null;
        }
    }

    private static string? ReadRequestId(ref Utf8JsonReader reader)
    {
        reader.Read();
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return JsonText.Read(ref reader);
            case JsonTokenType.Number:
                return System.Text.Encoding.UTF8.GetString(reader.ValueSpan);
            default:
                reader.Skip();
                return null;
        }
    }

    private static List<ChatTurn> ReadMessages(ref Utf8JsonReader reader)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            reader.Skip();
            return [];
        }

        var messages = new List<ChatTurn>();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType != JsonTokenType.StartObject)
                reader.Skip();
            else if (ReadMessage(ref reader) is { } message)
                messages.Add(message);
        }

        return messages;
    }

    private static ChatTurn? ReadMessage(ref Utf8JsonReader reader)
    {
        string? role = null, content = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "role"u8))
                role = ReadString(ref reader);
            else if (JsonText.Equals(ref reader, "content"u8))
                content = ReadString(ref reader);
            else
                reader.Skip();
        }

        return content is null ? null : new ChatTurn(string.IsNullOrEmpty(role) ? "user" : role, content);
    }
}
