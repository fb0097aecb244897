using System.Buffers;
using System.Text.Json;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The words by which an upstream names its error, such as <c>invalid_request_error/model_not_found</c>, and
/// nothing else from it: messages quote the prompt, and parts of the key.
/// </summary>
internal static class UpstreamErrorCode
{
    /// <summary>Longest word, characters: names are shorter, tokens and hashes longer.</summary>
    public const int MaxLength = 64;

    /// <summary>A part of the key this long, characters, is too much to show.</summary>
    private const int MaxKeyPart = 6;

    private static readonly SearchValues<char> s_nameCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

    private static readonly SearchValues<char> s_modelCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-+/:@");

    private static readonly SearchValues<char> s_mediaTypeCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-+/");

    /// <summary>Type and code of an error object (<c>{"error":{…}}</c>, or the object itself); null if
    /// neither is there as a name. Anything that is not a name is left out, not trimmed to one.</summary>
    public static string? FromBody(ReadOnlySpan<byte> body, string secret)
    {
        try
        {
            var reader = new Utf8JsonReader(body);
            using var document = JsonDocument.ParseValue(ref reader);
            var error = document.RootElement;
            if (error.ValueKind == JsonValueKind.Object && error.TryGetProperty("error", out var inner))
                error = inner;
            if (error.ValueKind != JsonValueKind.Object)
                return null;
            var type = Word(error, "type", secret);
            var code = Word(error, "code", secret);
            return type is null || code is null || type == code ? type ?? code : $"{type}/{code}";
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // Not JSON, cut off at the limit, or it contains a lone surrogate.
            return null;
        }
    }

    /// <summary>A Content-Type without its parameters, for the log; null if it is not one.</summary>
    public static string? FromContentType(string? contentType)
    {
        var mediaType = MediaType(contentType);
        return mediaType.Length is > 0 and <= MaxLength && !mediaType.ContainsAnyExcept(s_mediaTypeCharacters)
            ? mediaType.ToString()
            : null;
    }

    /// <summary>A Content-Type without its parameters, unchecked.</summary>
    public static ReadOnlySpan<char> MediaType(string? contentType)
    {
        var mediaType = contentType.AsSpan();
        if (mediaType.IndexOf(';') is >= 0 and var end)
            mediaType = mediaType[..end];
        return mediaType.Trim();
    }

    /// <summary>A name in a list of models; null if it is none, or may not be shown.</summary>
    public static string? ModelName(JsonElement model, string property, string secret) =>
        model.ValueKind == JsonValueKind.Object && model.TryGetProperty(property, out var value)
        && value.ValueKind == JsonValueKind.String && value.GetString() is { Length: > 0 and <= 128 } name
        && !name.AsSpan().ContainsAnyExcept(s_modelCharacters) && !HoldsPartOf(secret, name) ? name : null;

    private static string? Word(JsonElement error, string name, string secret)
    {
        if (!error.TryGetProperty(name, out var value))
            return null;
        var word = value.ValueKind switch
        {
            JsonValueKind.String => value.GetString()!,
            JsonValueKind.Number => value.GetRawText(),
            _ => "",
        };
        if (word.Length is 0 or > MaxLength || word.AsSpan().ContainsAnyExcept(s_nameCharacters))
            return null;
        return HoldsPartOf(secret, word) ? null : word;
    }

    private static bool HoldsPartOf(string secret, string word)
    {
        for (var start = 0; start + MaxKeyPart <= secret.Length; start++)
        {
            var part = secret.AsSpan(start, MaxKeyPart);
            if (word.AsSpan().Contains(part, StringComparison.Ordinal))
                return true;
        }

        return false;
    }
}
