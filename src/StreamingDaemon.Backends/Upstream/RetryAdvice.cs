using System.Text.Json;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Whether an upstream's refusal says that a retry may help. The status alone does not tell: 429 is also the
/// status of a spent quota, and gateways wrap a wrong request into a 500.
/// </summary>
internal static class RetryAdvice
{
    /// <summary>Longest name of an error, characters. Longer text is a message.</summary>
    private const int MaxNameLength = 64;

    private static readonly string[] s_nameProperties =
    [
        "code", "type", "status", "reason", "error", "error_type", "error_code", "errorCode", "detail",
        "__type",
    ];

    /// <summary>Quota, billing, auth, content policy: parts of names, without separators.</summary>
    private static readonly string[] s_final =
    [
        "quota", "billing", "balance", "credit", "payment", "funds", "arrear", "overdue", "budget",
        "spendinglimit", "spendlimit", "usagelimit",
        "apikey", "authentic", "unauthor", "permission", "forbidden", "accessdenied", "accessterminated",
        "deactivated", "suspended", "disabled", "expired",
        "policy", "contentfilter", "contentblocked", "moderat", "flagged", "safety", "prohibited",
        "sensitive", "inspectionfailed", "guardrail",
    ];

    /// <summary>A wrong request.</summary>
    private static readonly string[] s_wrongRequest =
    [
        "invalid", "badrequest", "contextlength", "contextwindow", "notfound", "notexist", "nosuch",
        "unsupported", "notsupported", "notimplemented", "validation", "toolarge", "toolong", "unprocessable",
        "unknownparameter", "unknownmodel", "missing", "malformed", "abovemax", "failedprecondition",
    ];

    /// <summary>Names of what passes. Some servers put them beside "invalid_request_error".</summary>
    private static readonly string[] s_passing =
    [
        "ratelimit", "toomanyrequests", "overload", "unavailable", "timeout", "busy", "upstream", "internal",
        "servererror", "trylater", "throttl",
    ];

    /// <summary>Combines what the head and the body say.</summary>
    /// <param name="status">The HTTP status.</param>
    /// <param name="shouldRetry">The header <c>x-should-retry</c>, or null.</param>
    /// <param name="body">The body, or its beginning.</param>
    /// <returns>Null if neither says anything: then the status decides.</returns>
    public static bool? Of(int status, string? shouldRetry, ReadOnlySpan<byte> body)
    {
        if (IsFinal(body))
            return false;
        var said = shouldRetry.AsSpan().Trim();
        if (said.Equals("false", StringComparison.OrdinalIgnoreCase))
            return false;
        return said.Equals("true", StringComparison.OrdinalIgnoreCase) && !IsFinal(status) ? true : null;
    }

    /// <summary>Statuses of a wrong request, a wrong key or an unpaid bill.</summary>
    private static bool IsFinal(int status) =>
        status is < 400 or 400 or 401 or 402 or 403 or 404 or 405 or 413 or 414 or 415 or 422 or 451;

    /// <summary>True if an error's name says that the same request will fail again.</summary>
    private static bool IsFinal(ReadOnlySpan<byte> body)
    {
        var (isWrong, isPassing) = (false, false);
        // The body may be cut at its limit, or be no JSON: what was read until then counts.
        var reader = new Utf8JsonReader(
            body, isFinalBlock: false, new JsonReaderState(JsonText.Options));
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType != JsonTokenType.PropertyName || !IsNameProperty(ref reader)
                    || !reader.Read() || reader.TokenType != JsonTokenType.String
                    || reader.ValueSpan.Length > MaxNameLength)
                {
                    continue;
                }

                var name = Letters(reader.GetString()!);
                if (ContainsAny(name, s_final))
                    return true;
                isWrong |= ContainsAny(name, s_wrongRequest);
                isPassing |= ContainsAny(name, s_passing);
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException)
        {
            // No JSON, or text that is not UTF-8.
        }

        return isWrong && !isPassing;
    }

    private static bool IsNameProperty(ref Utf8JsonReader reader)
    {
        foreach (var property in s_nameProperties)
        {
            if (reader.ValueTextEquals(property))
                return true;
        }

        return false;
    }

    /// <summary>"insufficient_quota" and "InsufficientQuota" are the same name. Empty for a
    /// message.</summary>
    private static string Letters(string name) => name.Contains(' ')
        ? ""
        : string.Concat(name.Where(char.IsAsciiLetter)).ToLowerInvariant();

    private static bool ContainsAny(string name, string[] parts)
    {
        foreach (var part in parts)
        {
            if (name.Contains(part, StringComparison.Ordinal))
                return true;
        }

        return false;
    }
}
