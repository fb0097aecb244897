using System.Buffers.Text;
using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The token counts of an answer, by whatever names the upstream gives them.</summary>
internal sealed class TokenUsage
{
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
        if (JsonText.Equals(ref reader, "prompt_tokens"u8) || JsonText.Equals(ref reader, "input_tokens"u8)
            || JsonText.Equals(ref reader, "promptTokens"u8) || JsonText.Equals(ref reader, "inputTokens"u8)
            || JsonText.Equals(ref reader, "promptTokenCount"u8))
        {
            ReadCount(ref reader, ref _prompt);
        }
        else if (JsonText.Equals(ref reader, "completion_tokens"u8)
            || JsonText.Equals(ref reader, "output_tokens"u8)
            || JsonText.Equals(ref reader, "completionTokens"u8)
            || JsonText.Equals(ref reader, "outputTokens"u8)
            || JsonText.Equals(ref reader, "candidatesTokenCount"u8))
        {
            ReadCount(ref reader, ref _completion);
        }
        else if (JsonText.Equals(ref reader, "reasoning_tokens"u8)
            || JsonText.Equals(ref reader, "thoughtsTokenCount"u8))
        {
            ReadCount(ref reader, ref _reasoning);
        }
        else if (JsonText.Equals(ref reader, "cached_tokens"u8)
            || JsonText.Equals(ref reader, "prompt_cache_hit_tokens"u8)
            || JsonText.Equals(ref reader, "cache_read_input_tokens"u8)
            || JsonText.Equals(ref reader, "cacheReadInputTokens"u8)
            || JsonText.Equals(ref reader, "cachedContentTokenCount"u8))
        {
            ReadCount(ref reader, ref _cached);
        }
        else
        {
            var isDetails = JsonText.Equals(ref reader, "completion_tokens_details"u8)
                || JsonText.Equals(ref reader, "prompt_tokens_details"u8)
                || JsonText.Equals(ref reader, "output_tokens_details"u8)
                || JsonText.Equals(ref reader, "input_tokens_details"u8);
            reader.Read();
            if (isDetails)
                ReadDetails(ref reader);
            else
                reader.Skip();
        }
    }

    /// <summary>One level further in, where "audio_tokens" and the like are too.</summary>
    private void ReadDetails(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "reasoning_tokens"u8))
            {
                ReadCount(ref reader, ref _reasoning);
            }
            else if (JsonText.Equals(ref reader, "cached_tokens"u8))
            {
                ReadCount(ref reader, ref _cached);
            }
            else
            {
                reader.Skip();
            }
        }
    }

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
