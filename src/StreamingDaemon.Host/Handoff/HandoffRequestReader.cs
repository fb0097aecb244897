using System.Buffers.Text;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads handoff data into a <see cref="HandoffRequest"/>.</summary>
internal static class HandoffRequestReader
{
    /// <summary>PHP's json_encode nests no deeper by default.</summary>
    private const int MaxDepth = 512;

    /// <summary>Longest name of a model, backend, format or test pattern. A stream holds them until its
    /// end, unlike its prompt.</summary>
    public const int MaxNameLength = 1024;

    /// <summary>How handoff data is read, and every part of it.</summary>
    public static readonly JsonReaderOptions Options = new() { MaxDepth = MaxDepth };

    /// <summary>
    /// Reads a JSON object. NUL bytes and white space around it are allowed. Empty data is an empty object.
    /// </summary>
    /// <param name="data">The bytes as received.</param>
    /// <param name="request">The request; never null.</param>
    /// <param name="withPrompt">False for a client that is refused: its texts and parameters are skipped,
    /// to save memory.</param>
    /// <param name="keepsUnknown">True to keep the values of unknown fields: some backend may send
    /// them.</param>
    /// <returns>False if the data is not a JSON object. The request then has a request id and defaults.
    /// </returns>
    public static bool TryRead(
        ReadOnlySpan<byte> data, out HandoffRequest request, bool withPrompt = true,
        bool keepsUnknown = false)
    {
        data = data.Trim("\0 \t\r\n"u8);
        if (data.IsEmpty)
        {
            request = new HandoffRequest { IsEmpty = true };
            return true;
        }

        try
        {
            var reader = new Utf8JsonReader(data, Options);
            if (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
            {
                request = ReadObject(ref reader, data, withPrompt, keepsUnknown);
                // Anything after the object makes it malformed.
                if (!reader.Read())
                    return true;
            }
        }
        catch (JsonException)
        {
            // Malformed, or nested deeper than MaxDepth.
        }

        request = new HandoffRequest();
        return false;
    }

    private static HandoffRequest ReadObject(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> data, bool withPrompt, bool keepsUnknown)
    {
        var request = new HandoffRequest();
        string? requestId = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            // Duplicates: the last one wins, as in PHP and Go.
            if (!withPrompt && IsText(ref reader))
            {
                reader.Skip();
            }
            else if (JsonText.Equals(ref reader, "prompt"u8))
            {
                request.Prompt = Text(ref reader, "prompt", request, "user"u8) ?? request.Prompt;
            }
            else if (JsonText.Equals(ref reader, "messages"u8))
            {
                request.Messages = ConversationReader.Read(ref reader, data, request);
            }
            else if (JsonText.Equals(ref reader, "user_id"u8))
            {
                ReadUserId(ref reader, request);
            }
            else if (JsonText.Equals(ref reader, "model"u8))
            {
                request.Model = Name(ref reader, "model", request) ?? request.Model;
            }
            else if (JsonText.Equals(ref reader, "max_tokens"u8))
            {
                request.MaxTokens =
                    Used("max_tokens", ReadCount(ref reader, data), reader.TokenType, request);
            }
            else if (JsonText.Equals(ref reader, "temperature"u8))
            {
                request.Temperature =
                    Used("temperature", ReadNumber(ref reader, data), reader.TokenType, request);
            }
            else if (JsonText.Equals(ref reader, "system"u8))
            {
                request.System = NotEmpty(Text(ref reader, "system", request, "system"u8));
            }
            else if (JsonText.Equals(ref reader, "request_id"u8))
            {
                requestId = ReadRequestId(ref reader, request);
            }
            else if (JsonText.Equals(ref reader, "test_pattern"u8))
            {
                request.TestPattern = Name(ref reader, "test_pattern", request);
            }
            else if (JsonText.Equals(ref reader, "backend"u8))
            {
                request.Backend = Name(ref reader, "backend", request);
            }
            else if (JsonText.Equals(ref reader, "response_headers"u8))
            {
                request.ResponseHeaders = ReadHeaders(ref reader, request);
            }
            else if (!TryReadTraceparent(ref reader, request) && !FormatReader.TryRead(ref reader, request)
                && !KeptAnswerReader.TryRead(ref reader, data, request)
                && !DeliveryReader.TryRead(ref reader, data, request))
            {
                ReadParameter(ref reader, data, request, withPrompt, keepsUnknown);
            }
        }

        KeptAnswerReader.FindStop(request);
        if (!string.IsNullOrEmpty(requestId))
            request.RequestId = RequestId.FromApplication(requestId);
        return request;
    }

    private static void ReadParameter(ref Utf8JsonReader reader, ReadOnlySpan<byte> data,
        HandoffRequest request, bool withPrompt, bool keepsUnknown)
    {
        if (withPrompt)
            ParameterReader.Read(ref reader, data, request, keepsUnknown);
        else
            reader.Skip();
    }

    private static bool IsText(ref Utf8JsonReader reader) => JsonText.Equals(ref reader, "prompt"u8)
        || JsonText.Equals(ref reader, "messages"u8) || JsonText.Equals(ref reader, "system"u8);

    private static void ReadUserId(ref Utf8JsonReader reader, HandoffRequest request)
    {
        var user = UserIdReader.Read(ref reader);
        if (!user.IsNone)
            request.UserId = user;
        else if (reader.TokenType != JsonTokenType.Null)
            request.NoteUnusable("user_id");
    }

    private static string? Text(
        ref Utf8JsonReader reader, string name, HandoffRequest request, ReadOnlySpan<byte> role = default)
    {
        reader.Read();
        var isEmpty = reader.TokenType == JsonTokenType.Null;
        var text = role.IsEmpty ? LaxText.ReadScalar(ref reader) : LaxText.Read(ref reader, role);
        if (text is null && !isEmpty)
            request.NoteUnusable(name);
        return text;
    }

    private static string? Name(ref Utf8JsonReader reader, string field, HandoffRequest request)
    {
        var name = NotEmpty(Text(ref reader, field, request));
        if (name is null || name.Length <= MaxNameLength)
            return name;
        request.NoteUnusable(field);
        return null;
    }

    /// <summary>Notes the field as unusable if it had a value (not null) that could not be read.</summary>
    private static T? Used<T>(string name, T? value, JsonTokenType token, HandoffRequest request)
        where T : struct
    {
        if (value is null && token != JsonTokenType.Null)
            request.NoteUnusable(name);
        return value;
    }

    private static ReadOnlyMemory<byte> ReadHeaders(ref Utf8JsonReader reader, HandoffRequest request)
    {
        var (lines, dropped) = ResponseHeaderReader.Read(ref reader);
        if (dropped)
            request.NoteUnusable("response_headers");
        return lines;
    }

    private static bool TryReadTraceparent(ref Utf8JsonReader reader, HandoffRequest request)
    {
        if (!JsonText.Equals(ref reader, "traceparent"u8))
            return false;
        var text = NotEmpty(Text(ref reader, "traceparent", request));
        if (text is null || Traceparent.IsValid(text))
            request.Traceparent = text;
        else
            request.NoteUnusable("traceparent");
        return true;
    }

    private static string? NotEmpty(string? value) => string.IsNullOrEmpty(value) ? null : value;

    private static long? ReadCount(ref Utf8JsonReader reader, ReadOnlySpan<byte> data)
    {
        reader.Read();
        var token = reader.TokenType;
        return PhpScalars.Integer(token, JsonText.Skip(ref reader, data)) is > 0 and var count ? count : null;
    }

    private static double? ReadNumber(ref Utf8JsonReader reader, ReadOnlySpan<byte> data)
    {
        reader.Read();
        var token = reader.TokenType;
        var json = PhpScalars.Number(token, JsonText.Skip(ref reader, data), isInteger: false);
        return json is not null && Utf8Parser.TryParse(json, out double number, out _)
            && double.IsFinite(number) ? number : null;
    }

    private static string? ReadRequestId(ref Utf8JsonReader reader, HandoffRequest request)
    {
        reader.Read();
        switch (reader.TokenType)
        {
            case JsonTokenType.String:
                return JsonText.Read(ref reader);
            case JsonTokenType.Number:
                return System.Text.Encoding.UTF8.GetString(reader.ValueSpan);
            default:
                if (reader.TokenType != JsonTokenType.Null)
                    request.NoteUnusable("request_id");
                reader.Skip();
                return null;
        }
    }
}
