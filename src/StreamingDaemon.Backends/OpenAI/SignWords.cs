using System.Collections.Frozen;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Names and words by which events without choices say what they are.</summary>
internal static class SignWords
{
    /// <summary>Longest word, bytes.</summary>
    private const int MaxLength = 32;

    /// <summary>Kinds of events whose message is for people, besides those that say "not yet".</summary>
    private static readonly FrozenSet<string> s_notes = FrozenSet.ToFrozenSet(
        ["info", "status", "progress", "queue", "log", "debug", "warning", "warn", "notice", "ping",
            "heartbeat", "keepalive", "start", "metadata", "notification", "system", "update", "step",
            "trace", "connected", "connecting", "ready", "init", "model_loading", "stats", "usage", "welcome",
            "session", "hint", "deprecation"],
        StringComparer.OrdinalIgnoreCase);

    private static readonly FrozenSet<string> s_success = FrozenSet.ToFrozenSet(
        ["success", "successful", "succeeded", "succeed", "ok", "complete", "completed", "done", "finished",
            "stream completed", "stream complete", "stream ended", "stream finished", "end of stream",
            "成功", "操作成功", "请求成功", "完成"],
        StringComparer.OrdinalIgnoreCase);

    /// <summary>A message in an event of this kind is no error.</summary>
    public static bool IsNote(string kind) => s_notes.Contains(kind);

    /// <summary>A code, status or message that says that all went well.</summary>
    public static bool SaysSuccess(string word) => s_success.Contains(word);

    /// <summary>The reader's string may be one of these words.</summary>
    public static bool IsShort(ref Utf8JsonReader reader) =>
        reader.ValueIsEscaped || reader.ValueSpan.Length <= MaxLength;

    /// <summary>Names of a code or a status.</summary>
    public static bool IsCodeName(ref Utf8JsonReader reader) => reader.ValueSpan.Length switch
    {
        5 => JsonText.Equals(ref reader, "state"u8),
        6 => JsonText.Equals(ref reader, "status"u8),
        8 => JsonText.Equals(ref reader, "ret_code"u8),
        9 => JsonText.Equals(ref reader, "http_code"u8),
        10 => JsonText.Equals(ref reader, "statusCode"u8) || JsonText.Equals(ref reader, "httpStatus"u8),
        11 => JsonText.Equals(ref reader, "status_code"u8) || JsonText.Equals(ref reader, "http_status"u8)
            || JsonText.Equals(ref reader, "task_status"u8),
        _ => false,
    };

    /// <summary>Names of a flag that says that the answer has ended.</summary>
    public static bool IsEndFlag(ref Utf8JsonReader reader) => reader.ValueSpan.Length switch
    {
        5 => JsonText.Equals(ref reader, "isEnd"u8),
        6 => JsonText.Equals(ref reader, "is_end"u8),
        8 => JsonText.Equals(ref reader, "finished"u8),
        11 => JsonText.Equals(ref reader, "is_finished"u8),
        _ => false,
    };

    /// <summary>Names of an error: error, Error, ERROR, errors, err, errmsg, error_description.</summary>
    public static bool IsErrorName(ref Utf8JsonReader reader) =>
        reader.ValueIsEscaped ? JsonText.Equals(ref reader, "error"u8)
        : reader.ValueSpan.Length >= 3 && (reader.ValueSpan[0] | 0x20) == 'e'
            && Ascii.EqualsIgnoreCase(reader.ValueSpan[..3], "err"u8);
}
