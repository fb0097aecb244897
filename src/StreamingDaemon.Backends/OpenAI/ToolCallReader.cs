using System.Buffers;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Puts the calls of tools together whose pieces come in the chunks of an answer. Pieces of one call have one
/// <c>index</c>. Servers that send each call whole may give all of them index 0: another id is another call.
/// </summary>
internal sealed class ToolCallReader
{
    private readonly List<Call> _calls = [];

    /// <summary>Characters of all calls so far.</summary>
    public long Length { get; private set; }

    /// <summary>True if there is any call.</summary>
    public bool HasAny => _calls.Count > 0;

    /// <summary>Reads one chunk; ignores what is no chunk.</summary>
    public void Read(ReadOnlySpan<byte> chunk)
    {
        // Most chunks hold text only: the search costs less than a second parser.
        if (chunk.IndexOf("_call"u8) < 0)
            return;
        try
        {
            var reader = new Utf8JsonReader(chunk, JsonText.Options);
            if (reader.Read() && reader.TokenType == JsonTokenType.StartObject)
                ReadRoot(ref reader);
        }
        catch (JsonException)
        {
            // Half a chunk brings no call that anybody could use.
        }
    }

    /// <summary>Writes the calls as a message of the assistant has them: an array.</summary>
    public void WriteTo(Utf8JsonWriter json)
    {
        json.WriteStartArray();
        foreach (var call in _calls)
        {
            json.WriteStartObject();
            if (call.Id is { } id)
                json.WriteString("id", id);
            json.WriteString("type", call.Type ?? "function");
            json.WriteStartObject("function");
            json.WriteString("name", call.Name ?? "");
            json.WriteString("arguments", call.Arguments.ToString());
            json.WriteEndObject();
            json.WriteEndObject();
        }

        json.WriteEndArray();
    }

    private void ReadRoot(ref Utf8JsonReader reader)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isChoices = JsonText.Equals(ref reader, "choices"u8);
            reader.Read();
            if (!isChoices || reader.TokenType != JsonTokenType.StartArray)
            {
                reader.Skip();
                continue;
            }

            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                if (reader.TokenType == JsonTokenType.StartObject)
                    ReadChoice(ref reader);
                else
                    reader.Skip();
            }
        }
    }

    /// <summary>Only choice 0 counts, as for the text. The index may come last.</summary>
    private void ReadChoice(ref Utf8JsonReader reader)
    {
        Utf8JsonReader message = default;
        var (hasMessage, index) = (false, 0);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isMessage = JsonText.Equals(ref reader, "delta"u8)
                || JsonText.Equals(ref reader, "message"u8);
            var isIndex = JsonText.Equals(ref reader, "index"u8);
            reader.Read();
            if (isMessage && reader.TokenType == JsonTokenType.StartObject)
            {
                hasMessage = true;
                message = reader;
            }

            if (isIndex && reader.TokenType == JsonTokenType.Number && !reader.TryGetInt32(out index))
                index = -1;
            reader.Skip();
        }

        if (hasMessage && index == 0)
            ReadMessage(ref message);
    }

    private void ReadMessage(ref Utf8JsonReader reader)
    {
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isCalls = JsonText.Equals(ref reader, "tool_calls"u8);
            var isFunction = JsonText.Equals(ref reader, "function_call"u8);
            reader.Read();
            if (isFunction && reader.TokenType == JsonTokenType.StartObject)
            {
                // The older form: one call, without id and index.
                Add(ReadFunction(ref reader), position: 0);
            }
            else if (isCalls && reader.TokenType == JsonTokenType.StartArray)
            {
                ReadCalls(ref reader);
            }
            else
            {
                reader.Skip();
            }
        }
    }

    private void ReadCalls(ref Utf8JsonReader reader)
    {
        for (var position = 0; reader.Read() && reader.TokenType != JsonTokenType.EndArray; position++)
        {
            if (reader.TokenType == JsonTokenType.StartObject)
                Add(ReadCall(ref reader), position);
            else
                reader.Skip();
        }
    }

    private static Piece ReadCall(ref Utf8JsonReader reader)
    {
        var piece = new Piece();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isId = JsonText.Equals(ref reader, "id"u8);
            var isType = JsonText.Equals(ref reader, "type"u8);
            var isIndex = JsonText.Equals(ref reader, "index"u8);
            var isFunction = JsonText.Equals(ref reader, "function"u8);
            reader.Read();
            if (isFunction && reader.TokenType == JsonTokenType.StartObject)
            {
                var (_, _, _, name, arguments) = ReadFunction(ref reader);
                piece = piece with { Name = name, Arguments = arguments };
            }
            else if (isId)
            {
                piece.Id = Text(ref reader);
            }
            else if (isType)
            {
                piece.Type = Text(ref reader);
            }
            else if (isIndex && reader.TokenType == JsonTokenType.Number
                && reader.TryGetInt32(out var index))
            {
                piece.Index = index;
            }

            reader.Skip();
        }

        return piece;
    }

    private static Piece ReadFunction(ref Utf8JsonReader reader)
    {
        var piece = new Piece();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isName = JsonText.Equals(ref reader, "name"u8);
            var isArguments = JsonText.Equals(ref reader, "arguments"u8);
            reader.Read();
            if (isName)
                piece.Name = Text(ref reader);
            else if (isArguments)
                piece.Arguments = Text(ref reader) ?? Json(ref reader);
            reader.Skip();
        }

        return piece;
    }

    private void Add(in Piece piece, int position)
    {
        var index = piece.Index ?? position;
        var id = piece.Id;
        var call = _calls.FindLast(one => one.Index == index);
        if (call is null || (id is not null && call.Id is not null && call.Id != id))
        {
            call = new Call { Index = index };
            _calls.Add(call);
        }

        call.Id ??= id;
        call.Type ??= piece.Type;
        call.Name ??= piece.Name;
        call.Arguments.Append(piece.Arguments);
        Length += (piece.Arguments?.Length ?? 0) + (piece.Name?.Length ?? 0) + (id?.Length ?? 0);
    }

    /// <summary>The string, or null if it is empty or another value.</summary>
    private static string? Text(ref Utf8JsonReader reader) =>
        reader.TokenType == JsonTokenType.String && JsonText.Read(ref reader) is { Length: > 0 } text
            ? text
            : null;

    /// <summary>Arguments that are an object instead of a string that holds one.</summary>
    private static string? Json(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
            return null;
        using var document = JsonDocument.ParseValue(ref reader);
        return document.RootElement.GetRawText();
    }

    private sealed class Call
    {
        public required int Index { get; init; }
        public string? Id { get; set; }
        public string? Type { get; set; }
        public string? Name { get; set; }
        public StringBuilder Arguments { get; } = new();
    }

    private record struct Piece(int? Index, string? Id, string? Type, string? Name, string? Arguments);
}
