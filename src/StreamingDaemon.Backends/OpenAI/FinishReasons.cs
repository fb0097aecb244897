using System.Buffers;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The words with which upstreams end a choice.</summary>
internal static class FinishReasons
{
    /// <summary>The usual reasons, which need no new string.</summary>
    private static readonly (byte[] Utf8, string Text)[] s_usual =
    [
        .. ((string[])["stop", "length", "tool_calls", "content_filter", "function_call", "eos_token"])
            .Select(word => (Encoding.UTF8.GetBytes(word), word)),
    ];

    /// <summary>Parts of words that say that the provider failed, without separators.</summary>
    private static readonly SearchValues<string> s_failed = SearchValues.Create(
        ["error", "fail", "exception", "abort", "cancel", "timeout", "timedout", "overload", "unavailable",
            "interrupt", "insufficient", "busy", "ratelimit", "quota", "disconnect", "lost", "crash",
            "killed", "terminated", "preempt", "shutdown", "outofmemory", "gateway", "throttl", "dead",
            "evict", "resourceexhausted", "unreachable", "stalled", "dropped", "connection", "network",
            "internal", "unexpectedeof", "brokenpipe", "capacity", "panic", "hangup", "fatal", "offline",
            "unloaded", "died", "expired", "shuttingdown", "restart", "degraded", "noworker"],
        StringComparison.OrdinalIgnoreCase);

    /// <summary>Words with which servers say that the choice, or the whole request, goes on.</summary>
    private static readonly HashSet<string> s_notYet = new(StringComparer.OrdinalIgnoreCase)
    {
        "null", "none", "nil", "undefined", "not_finished", "unfinished", "in_progress", "generating",
        "continue", "running", "pending", "unspecified", "finish_reason_unspecified", "processing", "queued",
        "in_queue", "waiting", "loading", "starting",
    };

    /// <summary>What counts of two reasons: the later one. But a "stop" takes nothing back: an answer that
    /// was cut stays cut, and one that calls tools still calls them.</summary>
    public static string? Later(string? before, string? after)
    {
        var isMore = before is "length" or "content_filter" or "tool_calls" or "function_call";
        return after is null || (isMore && after == "stop") ? before : after;
    }

    /// <summary>The reader's current value as a finish reason: a string, the first of several, or an
    /// object with a type. Null, an empty string, a word for "not yet" and anything else mean "not yet".
    /// Reads to the value's end.</summary>
    public static string? Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.StartObject)
            return ReadType(ref reader);
        if (reader.TokenType == JsonTokenType.String && !reader.ValueSpan.IsEmpty)
        {
            foreach (var (utf8, text) in s_usual)
            {
                if (reader.ValueSpan.SequenceEqual(utf8))
                    return text;
            }

            // Some servers write their "not yet" as a word.
            var word = JsonText.Read(ref reader);
            return s_notYet.Contains(word) ? null : word;
        }

        if (reader.TokenType == JsonTokenType.StartArray)
            return ReadFirst(ref reader);

        reader.Skip();
        return null;
    }

    /// <summary>True if the reader's string says that the answer is still to come.</summary>
    public static bool IsNotYet(ref Utf8JsonReader reader) => s_notYet.Contains(JsonText.Read(ref reader));

    /// <summary>True if the reason says that the provider failed: what came is not the whole
    /// answer.</summary>
    public static bool IsFailure(string reason)
    {
        // rate_limit, rate-limited and rateLimit are the same word.
        Span<char> letters = stackalloc char[UpstreamErrorCode.MaxLength];
        if (reason == "stop")
            return false;
        var length = 0;
        foreach (var letter in reason.AsSpan(0, Math.Min(reason.Length, letters.Length)))
        {
            if (letter is not ('_' or '-' or ' '))
                letters[length++] = letter;
        }

        ReadOnlySpan<char> word = letters[..length];
        return word.ContainsAny(s_failed) || word.Equals("oom", StringComparison.OrdinalIgnoreCase);
    }

    private static string? ReadFirst(ref Utf8JsonReader reader)
    {
        string? first = null;
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (first is null && reader.TokenType == JsonTokenType.String)
                first = Read(ref reader);
            else
                reader.Skip();
        }

        return first;
    }

    private static string? ReadType(ref Utf8JsonReader reader)
    {
        string? type = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isType = JsonText.Equals(ref reader, "type"u8);
            reader.Read();
            if (isType && reader.TokenType == JsonTokenType.String && !reader.ValueSpan.IsEmpty)
                type = JsonText.Read(ref reader);
            else
                reader.Skip();
        }

        return type;
    }

    /// <summary>The finish reason that says that the provider failed; null if it is no name.</summary>
    /// <param name="reason">The API's.</param>
    /// <param name="native">The provider's own.</param>
    /// <param name="secret">The key, which it must not contain.</param>
    public static string? NameFailed(string? reason, string? native, string secret)
    {
        reason = UpstreamErrorCode.Name(reason, secret);
        native = UpstreamErrorCode.Name(native, secret);
        return reason is null || native is null || native == reason ? reason ?? native : $"{reason}/{native}";
    }
}
