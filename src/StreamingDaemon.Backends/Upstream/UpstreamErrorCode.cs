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

    /// <summary>The most objects around an error.</summary>
    private const int DeepestError = 4;

    /// <summary>A part of the key this long, characters, is too much to show.</summary>
    private const int MaxKeyPart = 6;

    private static readonly SearchValues<char> s_nameCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-");

    private static readonly SearchValues<char> s_modelCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-+/:@");

    private static readonly SearchValues<char> s_mediaTypeCharacters = SearchValues.Create(
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-+/");

    /// <summary>Fields that name an error's type, the best first.</summary>
    private static readonly string[] s_typeFields =
        ["type", "error_type", "errorType", "__type", "status", "Type"];

    /// <summary>Fields that hold its code.</summary>
    private static readonly string[] s_codeFields =
    [
        "code", "error_code", "errorCode", "status_code", "statusCode", "errorcode", "errcode", "Code",
        "ErrorCode", "errno", "err_code", "retcode", "ret_code",
    ];

    /// <summary>Fields with another object, or the code itself.</summary>
    private static readonly string[] s_innerFields =
        ["error", "errors", "detail", "fault", "base_resp", "x_groq", "Error", "ERROR", "err",
        "exception", "header"];

    /// <summary>Objects around an error.</summary>
    private static readonly string[] s_wrappers = ["response", "Response", "data"];

    /// <summary>Words that stand for "no name".</summary>
    private static readonly string[] s_noNames = ["None", "none", "null", "error"];

    /// <summary>Type and code of an error, wherever the body has them (<c>{"error":{…}}</c>,
    /// <c>{"error":"code"}</c>, the object itself, an array around it …); null if neither is there as a name.
    /// Anything that is not a name is left out, not trimmed to one.</summary>
    public static string? FromBody(ReadOnlySpan<byte> body, string secret)
    {
        try
        {
            var reader = new Utf8JsonReader(
                body.StartsWith("\ufeff"u8) ? body["\ufeff"u8.Length..] : body, JsonText.Options);
            using var document = JsonDocument.ParseValue(ref reader);
            return Find(document.RootElement, secret, depth: 0);
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // Not JSON, cut off at the limit, or it contains a lone surrogate.
            return null;
        }
    }

    /// <summary>The word itself, if it is a name that may be shown; else null.</summary>
    public static string? Name(string? word, string secret)
    {
        if (word is null or "" || word.Length > MaxLength
            || word.AsSpan().ContainsAnyExcept(s_nameCharacters))
        {
            return null;
        }

        return HoldsPartOf(secret, word) ? null : word;
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

    /// <summary>The name in one value. The inner error is the cause, and an array's first one
    /// counts.</summary>
    private static string? Find(JsonElement error, string secret, int depth)
    {
        if (error.ValueKind == JsonValueKind.Array && error.GetArrayLength() > 0)
            error = error[0];
        if (depth > 0 && error.ValueKind is JsonValueKind.String or JsonValueKind.Number)
            return Word(error, secret);
        if (error.ValueKind != JsonValueKind.Object || depth > DeepestError)
            return null;
        foreach (var field in s_innerFields)
        {
            if (error.TryGetProperty(field, out var inner) && Find(inner, secret, depth + 1) is { } name)
                return name;
        }

        if (OfWrapper(error, isUsual: true, secret, depth) is { } ofWrapper)
            return ofWrapper;
        if (OfChoice(error, secret, depth) is { } ofChoice)
            return ofChoice;
        // OpenRouter's code is a status, and its metadata name the error.
        var type = First(error, s_typeFields, secret)
            ?? First(Inner(error, "metadata"), ["error_type"], secret);
        var code = First(error, s_codeFields, secret)
            ?? First(Inner(error, "status"), s_codeFields, secret)
            ?? First(Inner(error, "meta"), s_codeFields, secret);
        return type is null || code is null || type == code
            ? type ?? code ?? OfException(error, secret) ?? OfWrapper(error, isUsual: false, secret, depth)
            : $"{type}/{code}";
    }

    /// <summary>Bedrock's own stream names an error by the field that holds it.</summary>
    private static string? OfException(JsonElement error, string secret)
    {
        foreach (var property in error.EnumerateObject())
        {
            if (property.Name.EndsWith("Exception", StringComparison.Ordinal))
                return Name(property.Name, secret);
        }

        return null;
    }

    /// <summary>The name of an error inside an object that is around it.</summary>
    /// <param name="around">May have such an object.</param>
    /// <param name="isUsual">Only objects of usual names: their error counts before a name beside
    /// them.</param>
    /// <param name="secret">The key.</param>
    /// <param name="depth">How deep the object is.</param>
    private static string? OfWrapper(JsonElement around, bool isUsual, string secret, int depth)
    {
        foreach (var property in around.EnumerateObject())
        {
            if (property.Value is not { ValueKind: JsonValueKind.Object } wrapper || depth > DeepestError
                || property.NameEquals("choices"u8) || (isUsual && !s_wrappers.Contains(property.Name)))
            {
                continue;
            }

            var name = s_innerFields.Any(field => wrapper.TryGetProperty(field, out _))
                ? Find(wrapper, secret, depth + 1)
                : OfWrapper(wrapper, isUsual: false, secret, depth + 1);
            if (name is not null)
                return name;
        }

        return null;
    }

    /// <summary>The name of an error inside the first choice, or inside its delta or message. Nothing else in
    /// them is a name: they hold the answer.</summary>
    private static string? OfChoice(JsonElement chunk, string secret, int depth)
    {
        if (!chunk.TryGetProperty("choices", out var choices))
            return null;
        var choice = choices.ValueKind == JsonValueKind.Array && choices.GetArrayLength() > 0
            ? choices[0] : choices;
        if (choice.ValueKind != JsonValueKind.Object)
            return null;
        if (choice.TryGetProperty("object", out var kind) && kind.ValueEquals("error"))
            return Find(choice, secret, depth + 1);
        return Find(Inner(choice, "error"), secret, depth + 1)
            ?? Find(Inner(Inner(choice, "delta"), "error"), secret, depth + 1)
            ?? Find(Inner(Inner(choice, "message"), "error"), secret, depth + 1)
            ?? First(choice, ["error_type", "errorType", "error_code", "errorCode"], secret);
    }

    private static JsonElement Inner(JsonElement value, string field) =>
        value.ValueKind == JsonValueKind.Object && value.TryGetProperty(field, out var inner)
            ? inner : default;

    private static string? First(JsonElement error, string[] fields, string secret)
    {
        if (error.ValueKind != JsonValueKind.Object)
            return null;
        foreach (var field in fields)
        {
            if (error.TryGetProperty(field, out var value) && Word(value, secret) is { } word)
                return word;
        }

        return null;
    }

    private static string? Word(JsonElement value, string secret)
    {
        var word = value.ValueKind switch
        {
            JsonValueKind.String => value.GetString(),
            JsonValueKind.Number => value.GetRawText(),
            _ => null,
        };
        return s_noNames.Contains(word) ? null : Name(word, secret);
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
