using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The token counts of an answer, by whatever names the upstream gives them.</summary>
internal sealed class TokenUsage
{
    private static readonly byte[][] s_prompt =
        Names("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount",
            "input_token_count", "inputTokenCount");

    private static readonly byte[][] s_completion = Names("completion_tokens", "output_tokens",
        "completionTokens", "outputTokens", "candidatesTokenCount", "generated_tokens",
        "generated_token_count", "outputTokenCount");

    private static readonly byte[][] s_reasoning = Names("reasoning_tokens", "thoughtsTokenCount",
        "reasoningTokens", "thinking_tokens", "reasoning_output_tokens");

    private static readonly byte[][] s_cached = Names("cached_tokens", "prompt_cache_hit_tokens",
        "cache_read_input_tokens", "cacheReadInputTokens", "cachedContentTokenCount", "cachedTokens",
        "cached_input_tokens", "cache_read_tokens", "num_cached_tokens");

    /// <summary>Objects with counts. Cohere has all of them in <c>tokens</c>.</summary>
    private static readonly byte[][] s_details = Names("completion_tokens_details", "prompt_tokens_details",
        "output_tokens_details", "input_tokens_details", "completionTokensDetails", "promptTokensDetails",
        "tokens");

    private long? _prompt;
    private long? _completion;
    private long? _reasoning;
    private long? _cached;

    /// <summary>llama.cpp's <c>timings</c>, which count if there is no usage.</summary>
    private long? _timedPrompt;
    private long? _timedCompletion;
    private long? _timedCached;

    /// <summary>True if any count is known.</summary>
    public bool HasAny => (_prompt ?? _completion ?? _reasoning ?? _cached
        ?? _timedPrompt ?? _timedCompletion) is not null;

    /// <summary>Reads the field that the reader is at, if it holds token counts. Looks into others that may
    /// hold them besides other things.</summary>
    /// <returns>False if it holds something else: nothing was read.</returns>
    public bool TryReadField(ref Utf8JsonReader reader)
    {
        switch (reader.ValueSpan.Length)
        {
            case 5 when JsonText.Equals(ref reader, "usage"u8):
            case 13 when JsonText.Equals(ref reader, "usageMetadata"u8):
            case 32 when JsonText.Equals(ref reader, "amazon-bedrock-invocationMetrics"u8):
                reader.Read();
                Read(ref reader);
                return true;
            case 7 when JsonText.Equals(ref reader, "timings"u8):
                ReadTimings(reader);
                return false;
            case 4 when JsonText.Equals(ref reader, "meta"u8):
            case 7 when JsonText.Equals(ref reader, "details"u8):
                Look(reader, isCounts: true);
                return false;
            case 7 when JsonText.Equals(ref reader, "message"u8):
            case 8 when JsonText.Equals(ref reader, "metadata"u8):
                Look(reader, isCounts: false);
                return false;
            default:
                return false;
        }
    }

    /// <summary>Reads a usage object; a later one replaces the counts of an earlier one. Reads to the value's
    /// end.</summary>
    public void Read(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            ReadField(ref reader);
    }

    /// <summary>By value: the caller's reader stays at the name.</summary>
    /// <param name="reader">At the name of an object.</param>
    /// <param name="isCounts">The object holds counts itself.</param>
    private void Look(Utf8JsonReader reader, bool isCounts)
    {
        reader.Read();
        if (isCounts)
        {
            Read(ref reader);
            return;
        }

        if (reader.TokenType != JsonTokenType.StartObject)
            return;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isUsage = JsonText.Equals(ref reader, "usage"u8);
            reader.Read();
            if (isUsage)
                Read(ref reader);
            else
                reader.Skip();
        }
    }

    /// <summary>By value: the caller's reader stays at the name.</summary>
    private void ReadTimings(Utf8JsonReader reader)
    {
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return;
        long? fresh = null;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "prompt_n"u8))
                ReadCount(ref reader, ref fresh);
            else if (JsonText.Equals(ref reader, "cache_n"u8))
                ReadCount(ref reader, ref _timedCached);
            else if (JsonText.Equals(ref reader, "predicted_n"u8))
                ReadCount(ref reader, ref _timedCompletion);
            else
                JsonValue.SkipNext(ref reader);
        }

        // Older servers do not count the cached part, and nobody knows it then.
        _timedPrompt = fresh + (_timedCached ?? 0);
    }

    /// <summary>Reads the field that the reader is at, if it is a count of Ollama's own API, which has them
    /// beside the message.</summary>
    /// <returns>False if it is not: nothing was read.</returns>
    public bool TryReadOllama(ref Utf8JsonReader reader)
    {
        if (JsonText.Equals(ref reader, "eval_count"u8))
            ReadCount(ref reader, ref _completion);
        else if (JsonText.Equals(ref reader, "prompt_eval_count"u8))
            ReadCount(ref reader, ref _prompt);
        else
            return false;
        return true;
    }

    /// <summary>The counts that are known, as <see cref="DeltaKinds.Usage"/> says.</summary>
    public byte[] ToJson()
    {
        var json = new StringBuilder("{");
        var isTimed = (_prompt ?? _completion) is null;
        Add("prompt_tokens", isTimed ? _timedPrompt : _prompt);
        Add("completion_tokens", isTimed ? _timedCompletion : _completion);
        Add("reasoning_tokens", _reasoning);
        Add("cached_tokens", isTimed ? _cached ?? _timedCached : _cached);
        return Encoding.UTF8.GetBytes(json.Append('}').ToString());

        void Add(string name, long? count)
        {
            if (count is null)
                return;
            json.Append(json.Length > 1 ? "," : "")
                .Append(CultureInfo.InvariantCulture, $"\"{name}\":{count}");
        }
    }

    private void ReadField(ref Utf8JsonReader reader)
    {
        if (IsAny(ref reader, s_prompt))
        {
            ReadCount(ref reader, ref _prompt);
        }
        else if (IsAny(ref reader, s_completion))
        {
            ReadCount(ref reader, ref _completion);
        }
        else if (IsAny(ref reader, s_reasoning))
        {
            ReadCount(ref reader, ref _reasoning);
        }
        else if (IsAny(ref reader, s_cached))
        {
            ReadCount(ref reader, ref _cached);
        }
        else
        {
            // Cohere: what is billed counts until the counts themselves come.
            var isDetails = IsAny(ref reader, s_details)
                || (_prompt is null && JsonText.Equals(ref reader, "billed_units"u8));
            reader.Read();
            // One level further in, where "audio_tokens" and the like are too.
            if (isDetails)
                Read(ref reader);
            else
                reader.Skip();
        }
    }

    private static bool IsAny(ref Utf8JsonReader reader, byte[][] names)
    {
        foreach (var name in names)
        {
            if (JsonText.Equals(ref reader, name))
                return true;
        }

        return false;
    }

    private static byte[][] Names(params string[] names) => [.. names.Select(Encoding.UTF8.GetBytes)];

    /// <summary>A count, also as 12.0 or "12".</summary>
    private static void ReadCount(ref Utf8JsonReader reader, ref long? count)
    {
        reader.Read();
        if (reader.TokenType is JsonTokenType.Number or JsonTokenType.String
            && Utf8Parser.TryParse(reader.ValueSpan, out decimal value, out var length)
            && length == reader.ValueSpan.Length && value is >= 0 and <= long.MaxValue)
        {
            count = (long)value;
        }

        reader.Skip();
    }
}
