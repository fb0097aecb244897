using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The token counts of an answer, by whatever names the upstream gives them.</summary>
internal sealed class TokenUsage
{
    private static readonly byte[][] s_prompt =
        Names("prompt_tokens", "input_tokens", "promptTokens", "inputTokens", "promptTokenCount");

    private static readonly byte[][] s_completion = Names("completion_tokens", "output_tokens",
        "completionTokens", "outputTokens", "candidatesTokenCount", "generated_tokens");

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

    /// <summary>True if any count is known.</summary>
    public bool HasAny => (_prompt ?? _completion ?? _reasoning ?? _cached) is not null;

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
        Add("prompt_tokens", _prompt);
        Add("completion_tokens", _completion);
        Add("reasoning_tokens", _reasoning);
        Add("cached_tokens", _cached);
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
            var isDetails = IsAny(ref reader, s_details);
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
