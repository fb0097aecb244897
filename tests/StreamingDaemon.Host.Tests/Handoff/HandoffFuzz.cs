using System.Text;
using System.Text.Json;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

public sealed class HandoffFuzz
{
    private static readonly string[] s_words =
    [
        "{", "}", "[", "]", ",", ":", "\"", "\\", "\\ud800", "\\udc00", "\\u0000", "\\r\\n", "\0", "null", "true",
        "1e999", "-0", "9223372036854775808", "\"prompt\":", "\"messages\":[", "{\"role\":\"user\",\"content\":\"x\"}",
        "\"user_id\":", "\"max_tokens\":", "\"temperature\":", "\"request_id\":", "\"response_headers\":{",
        "\"Set-Cookie\":[", "\"tool_calls\":[{\"id\":\"c1\"}],", "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"x\"},",
        "\"role\":\"assistant\",", "\"content\":null,", "\"tools\":", "\"top_p\":", "\"stream_options\":", "\"top_k\":", "\ufeff", "\u2028",
        "\"content\":{\"type\":\"text\",\"text\":\"x\"},", "\"image_url\":\"u\",", "\"arguments\":{\"a\":1},", "\"system\":[", "\"text\":\"t\","
    ];

    [Fact]
    public void Handoff_of_any_bytes_is_a_safe_request_or_malformed() => Fuzzing.Run("handoff", s_words, (data, _) =>
    {
        var readable = HandoffRequestReader.TryRead(data, out var request, keepsUnknown: true);

        Assert.Equal(IsObject(data), readable);
        Assert.InRange(request.RequestId.Length, 1, RequestId.MaxLength);
        Assert.All(request.RequestId, c => Assert.True(c is > ' ' and <= '~' and not ('"' or '\\')));
        Assert.True(request.MaxTokens is null or > 0);
        Assert.True(request.Temperature is null || double.IsFinite(request.Temperature.Value));
        if (request.Messages is { } messages)
            AssertSound(messages.Json, JsonValueKind.Array);
        foreach (var (_, json) in request.Parameters.Concat(request.UnknownParameters))
            AssertSound(json, null);
        var headers = Encoding.UTF8.GetString(request.ResponseHeaders.Span);
        Assert.True(headers.Length == 0 || headers.EndsWith("\r\n", StringComparison.Ordinal));
        Assert.DoesNotContain("\r\n\r\n", "\r\n" + headers, StringComparison.Ordinal);
        Assert.DoesNotContain(headers.Replace("\r\n", "", StringComparison.Ordinal), c => char.IsControl(c)
            && c is not ('\t' or >= '\x80'));
    });

    /// <summary>Any parser takes it, and it can be cut out of its brackets.</summary>
    private static void AssertSound(ReadOnlyMemory<byte> json, JsonValueKind? kind)
    {
        using var document = JsonDocument.Parse(
            json, new JsonDocumentOptions { MaxDepth = HandoffRequestReader.Options.MaxDepth });
        Assert.Equal(kind ?? document.RootElement.ValueKind, document.RootElement.ValueKind);
        Assert.Equal(document.RootElement.ValueKind == JsonValueKind.Array, json.Span[0] == '[' && json.Span[^1] == ']');
        AssertText(document.RootElement);
    }

    /// <summary>Every string is text: the document model throws for one that is none.</summary>
    private static void AssertText(JsonElement json)
    {
        if (json.ValueKind == JsonValueKind.String)
            Assert.NotNull(json.GetString());
        else if (json.ValueKind == JsonValueKind.Array)
            Assert.All(json.EnumerateArray(), AssertText);
        else if (json.ValueKind == JsonValueKind.Object)
            Assert.All(json.EnumerateObject(), member => { Assert.NotNull(member.Name); AssertText(member.Value); });
    }

    /// <summary>Two parsers of the same library that share little code: the reader goes field by field, and
    /// the document model indexes everything.</summary>
    private static bool IsObject(byte[] data)
    {
        var trimmed = data.AsMemory().Trim("\0 \t\r\n"u8);
        if (trimmed.IsEmpty)
            return true;
        try
        {
            using var document = JsonDocument.Parse(
                trimmed, new JsonDocumentOptions { MaxDepth = HandoffRequestReader.Options.MaxDepth });
            return document.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
