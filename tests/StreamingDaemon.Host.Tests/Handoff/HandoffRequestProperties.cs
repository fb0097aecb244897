using System.Globalization;
using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Nodes;
using CsCheck;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

/// <summary>Compares the handoff reader with System.Text.Json's document model, which parses the same text in
/// another way.</summary>
public sealed class HandoffRequestProperties
{
    private static readonly string[] s_names =
    [
        "prompt", "messages", "user_id", "model", "max_tokens", "temperature", "system", "request_id",
        "test_pattern", "backend", "response_headers", "role", "content", "Prompt", "x", "tools", "metadata",
    ];

    private static readonly Gen<JsonNode?> s_scalar = Gen.OneOf(
        Gen.String.Select(Sound).Select(s => (JsonNode?)JsonValue.Create(s)),
        Among("user", "assistant", "12", " -3", "0.5", "mock", "").Select(s => (JsonNode?)JsonValue.Create(s)),
        Gen.Long.Select(n => (JsonNode?)JsonValue.Create(n)),
        Gen.Int[-3, 300].Select(n => (JsonNode?)JsonValue.Create(n)),
        Gen.Double[1e15, 8e18].Select(n => (JsonNode?)JsonValue.Create(Math.Floor(n))),
        Gen.Double.Where(double.IsFinite).Select(n => (JsonNode?)JsonValue.Create(n)),
        Gen.Bool.Select(b => (JsonNode?)JsonValue.Create(b)),
        Gen.Const((JsonNode?)null));

    private static readonly Gen<JsonNode?> s_any = Gen.Recursive<JsonNode?>((depth, inner) => depth > 3
        ? s_scalar
        : Gen.Frequency(
            (5, s_scalar),
            (1, inner.List[0, 4].Select(items => (JsonNode?)new JsonArray([.. items.Select(Copy)]))),
            (2, ObjectOf(inner).Select(o => (JsonNode?)o))));

    private static Gen<JsonObject> ObjectOf(Gen<JsonNode?> value) =>
        Gen.Select(Among(s_names), value).List[0, 10].Select(members =>
        {
            var made = new JsonObject();
            foreach (var (name, node) in members)
                made[name] = Copy(node);
            return made;
        });

    private static readonly Gen<string> s_document = Gen.Select(ObjectOf(s_any), Gen.Bool, Gen.Bool,
        (json, indented, escaped) => json.ToJsonString(new JsonSerializerOptions
        {
            WriteIndented = indented,
            Encoder = escaped ? JavaScriptEncoder.Default : JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        }));

    [Fact]
    public void Fields_read_as_the_document_model_reads_them() => s_document.Sample(text =>
    {
        Assert.True(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes(text), out var request));

        using var document = JsonDocument.Parse(text);
        var root = document.RootElement;
        Assert.Equal(LaxText(root, "prompt", "user"), request.Prompt);
        Assert.Equal(NotEmpty(root, "model"), request.Model);
        Assert.Equal(LaxText(root, "system", "system") is { Length: > 0 } system ? system : null, request.System);
        Assert.Equal(NotEmpty(root, "backend"), request.Backend);
        Assert.Equal(NotEmpty(root, "test_pattern"), request.TestPattern);
        Assert.Equal(User(root), request.UserId);
        Assert.Equal(Integer(root, "max_tokens") is { } most and > 0 ? most : null,
            request.MaxTokens);
        Assert.Equal(Turns(root), Messages(request), s_sameJson);
        AssertParameters(root, request);
    }, iter: 5_000);

    [Trait("Takes", "Long")]
    [Fact]
    public void Bytes_are_readable_exactly_where_the_document_model_finds_an_object() => s_mutated.Sample(data =>
    {
        var readable = HandoffRequestReader.TryRead(data, out var request);

        Assert.NotEmpty(request.RequestId);
        Assert.All(request.RequestId, c => Assert.InRange(c, '!', '~'));
        Assert.Equal(IsObject(data), readable);
    }, iter: 20_000);

    /// <summary>Documents with a few bytes changed, removed or duplicated.</summary>
    private static readonly Gen<byte[]> s_mutated = Gen.Select(s_document,
        Gen.Select(Gen.Int[0, 100_000], Gen.Int[0, 3], Gen.Byte).List[0, 4],
        (text, changes) =>
        {
            var data = Encoding.UTF8.GetBytes(text).ToList();
            foreach (var (where, what, value) in changes)
            {
                if (data.Count == 0)
                    break;
                var index = where % data.Count;
                if (what == 0)
                    data.RemoveAt(index);
                else if (what == 1)
                    data.Insert(index, data[index]);
                else
                    data[index] = value;
            }

            return data.ToArray();
        });

    private static bool IsObject(byte[] data)
    {
        var trimmed = data.AsSpan().Trim("\0 \t\r\n"u8);
        if (trimmed.IsEmpty)
            return true;
        try
        {
            using var document = JsonDocument.Parse(trimmed.ToArray());
            return document.RootElement.ValueKind == JsonValueKind.Object;
        }
        catch (JsonException)
        {
            return false;
        }
    }

    private static JsonElement? Find(JsonElement json, string name) =>
        json.TryGetProperty(name, out var value) ? value : null;

    private static string? Text(JsonElement json, string name) =>
        Find(json, name) switch
        {
            { ValueKind: JsonValueKind.String } value => value.GetString(),
            { ValueKind: JsonValueKind.Number } value => value.GetRawText(),
            _ => null,
        };

    /// <summary>A text, a number, a part or message that holds one, or a list of these alone.</summary>
    private static string? LaxText(JsonElement json, string name, string role) => Find(json, name) switch
    {
        { ValueKind: JsonValueKind.Array } list => list.EnumerateArray().Select(part => TextOrPart(part, role)).ToList() is var texts
            && texts.Count > 0 && texts.TrueForAll(text => text is not null)
                ? string.Join("\n\n", texts)
                : null,
        { } value => TextOrPart(value, role),
        null => null,
    };

    // No member is named "text" here.
    private static string? TextOrPart(JsonElement value, string role) =>
        value.ValueKind != JsonValueKind.Object ? TextOrNull(value)
        : value.EnumerateObject().All(member => IsOfText(member, role)) ? Text(value, "content")
        : null;

    private static bool IsOfText(JsonProperty member, string role) => member.Name switch
    {
        "content" or "cache_control" or "annotations" => true,
        _ when member.Value.ValueKind == JsonValueKind.Null => true,
        "type" => member.Value.ValueKind == JsonValueKind.String && member.Value.GetString() is "text" or "input_text",
        "role" => member.Value.ValueKind == JsonValueKind.String && member.Value.GetString() == role,
        _ => false,
    };

    private static string? NotEmpty(JsonElement json, string name) =>
        Text(json, name) is { Length: > 0 } text ? text : null;

    private static long? Integer(JsonElement json, string name) => Find(json, name) switch
    {
        { ValueKind: JsonValueKind.Number } n when n.TryGetInt64(out var whole) => whole,
        { ValueKind: JsonValueKind.Number } n when n.GetDouble() is var real && real == Math.Truncate(real)
            && Math.Abs(real) < 9e18 => (long)real,
        { ValueKind: JsonValueKind.String } s when long.TryParse(s.GetString()!.Trim(),
            NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var parsed) => parsed,
        _ => null,
    };

    private static UserId User(JsonElement root) => Find(root, "user_id") switch
    {
        { ValueKind: JsonValueKind.String } s when s.GetString()!.Trim() is { Length: > 0 } text => text.Length
            <= UserIdReader.MaxLength ? new UserId(text) : throw new InvalidOperationException("not generated"),
        { ValueKind: JsonValueKind.Number } when Integer(root, "user_id") is { } whole => whole,
        _ => default,
    };

    /// <summary>The messages that say something, with a role. None of these calls tools, and no part has a
    /// type.</summary>
    private static List<JsonNode> Turns(JsonElement root)
    {
        var messages = Find(root, "messages") switch
        {
            null or { ValueKind: JsonValueKind.Null } => [],
            { ValueKind: JsonValueKind.Array } list => list.EnumerateArray().ToList(),
            { } one => [one],
        };
        return [.. messages.Select(Turn).OfType<JsonNode>()];
    }

    private static JsonObject? Turn(JsonElement message)
    {
        if (TextOrNull(message) is { } text)
            return text.Length > 0 ? new JsonObject { ["role"] = "user", ["content"] = text } : null;
        if (message.ValueKind != JsonValueKind.Object || Find(message, "content") is not { } content)
            return null;
        var parts = content.ValueKind == JsonValueKind.Array
            ? content.EnumerateArray().Where(part => part.ValueKind != JsonValueKind.Null
                && TextOrNull(part) is not { Length: 0 }).ToList()
            : [];
        if (!parts.Exists(part => part.ValueKind == JsonValueKind.Object || TextOrNull(part) is not null)
            && TextOrNull(content) is null)
        {
            return null;
        }

        var turn = JsonNode.Parse(message.GetRawText())!.AsObject();
        turn["role"] = NotEmpty(message, "role") is { } role && Find(message, "role")!.Value.ValueKind
            == JsonValueKind.String ? role : "user";
        turn["content"] = TextOrNull(content) ?? (JsonNode)new JsonArray([.. parts.Select(part =>
            TextOrNull(part) is { } written
                ? new JsonObject { ["type"] = "text", ["text"] = written }
                : JsonNode.Parse(part.GetRawText()))]);
        return turn;
    }

    private static string? TextOrNull(JsonElement value) => value.ValueKind switch
    {
        JsonValueKind.String => value.GetString(),
        JsonValueKind.Number => value.GetRawText(),
        _ => null,
    };

    private static List<JsonNode> Messages(HandoffRequest request) => request.Messages is { } messages
        ? [.. JsonNode.Parse(messages.Json.Span)!.AsArray().Select(m => m!.DeepClone())]
        : [];

    private static void AssertParameters(JsonElement root, HandoffRequest request)
    {
        foreach (var name in (string[])["tools", "metadata"])
        {
            var value = Find(root, name);
            var isAbsent = value?.ValueKind is null or JsonValueKind.Null
                || (value.Value.ValueKind == JsonValueKind.Array && value.Value.GetArrayLength() == 0);
            Assert.Equal(!isAbsent, request.Parameters.TryGetValue(name, out var json));
            if (!isAbsent)
                Assert.Equal(value!.Value.GetRawText(), Encoding.UTF8.GetString(json.Span));
        }

        Assert.Equal(Find(root, "x") is not null, request.Unknown.Contains("x"));
    }

    private static readonly IEqualityComparer<JsonNode> s_sameJson =
        EqualityComparer<JsonNode>.Create(JsonNode.DeepEquals, node => node.GetHashCode());

    private static Gen<T> Among<T>(params T[] values) => Gen.Int[0, values.Length - 1].Select(i => values[i]);

    private static JsonNode? Copy(JsonNode? node) => node?.DeepClone();

    /// <summary>Lone surrogates are not valid text; other tests cover them.</summary>
    private static string Sound(string text) => Encoding.UTF8.GetString(Encoding.UTF8.GetBytes(text));
}
