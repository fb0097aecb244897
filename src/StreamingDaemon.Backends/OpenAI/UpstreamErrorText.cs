using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Turns what an upstream says about a failure into one short, harmless line for the log.</summary>
internal static class UpstreamErrorText
{
    /// <summary>Longest line, characters: enough for the sentence that matters.</summary>
    public const int MaxLength = 300;

    /// <summary>Shorter keys are placeholders; to redact them would only garble the line.</summary>
    private const int MinSecretLength = 8;

    /// <summary>Type, code and message out of an error body, or its text, or nothing where it is
    /// HTML.</summary>
    public static string FromBody(ReadOnlySpan<byte> body)
    {
        body = body.Trim(" \t\r\n"u8);
        if (body.IsEmpty || body[0] == (byte)'<') return "";
        try
        {
            var reader = new Utf8JsonReader(body);
            using var document = JsonDocument.ParseValue(ref reader);
            return FromJson(document.RootElement);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // Not JSON, cut off at the limit, or with a lone surrogate in it.
            return Encoding.UTF8.GetString(body);
        }
    }

    /// <summary>One line: no control characters, no key, not too long.</summary>
    public static string Clean(string text, string apiKey)
    {
        if (apiKey.Length >= MinSecretLength) text = text.Replace(apiKey, "[key]", StringComparison.Ordinal);
        var clean = new StringBuilder(Math.Min(text.Length, MaxLength + 1));
        foreach (var rune in text.EnumerateRunes())
        {
            if (clean.Length >= MaxLength) return clean.Append('…').ToString();
            var isLine = Rune.GetUnicodeCategory(rune) is not (UnicodeCategory.Control
                or UnicodeCategory.Format
                or UnicodeCategory.LineSeparator
                or UnicodeCategory.ParagraphSeparator);
            if (isLine) clean.Append(rune.ToString());
            else if (clean.Length > 0 && clean[^1] != ' ') clean.Append(' ');
        }

        return clean.ToString().Trim();
    }

    private static string FromJson(JsonElement root)
    {
        if (root.ValueKind == JsonValueKind.String) return root.GetString() ?? "";
        if (root.ValueKind != JsonValueKind.Object) return root.GetRawText();
        var error = root.TryGetProperty("error", out var inner) ? inner : root;
        if (error.ValueKind == JsonValueKind.String) return error.GetString() ?? "";
        if (error.ValueKind != JsonValueKind.Object) return error.GetRawText();

        var type = Text(error, "type");
        var code = Text(error, "code");
        // The last is what FastAPI, and so half of the self-hosted servers, answers with.
        var message = Text(error, "message") ?? Text(error, "detail");
        var kind = type is null || code is null || type == code ? type ?? code : $"{type}/{code}";
        if (string.IsNullOrEmpty(kind)) return message ?? error.GetRawText();
        return message is null ? kind : $"{kind}: {message}";
    }

    private static string? Text(JsonElement element, string name)
    {
        if (!element.TryGetProperty(name, out var value)) return null;
        return value.ValueKind switch
        {
            JsonValueKind.String => value.GetString() is { Length: > 0 } text ? text : null,
            JsonValueKind.Null => null,
            _ => value.GetRawText(),
        };
    }
}
