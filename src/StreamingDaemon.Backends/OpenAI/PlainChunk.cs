using System.Buffers;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Writes an object as the API has it, if its server names and lists things in another way: capitals
/// (<c>{"Choices":[{"Delta":{"Content":"Hi"},"FinishReason":"stop"}]}</c>, Tencent and servers in .NET), and
/// lists as PHP writes them (<c>{"choices":{"0":{…}}}</c>). Rare, so the object is read and written once
/// more.
/// </summary>
internal static class PlainChunk
{
    /// <summary>Is it an object whose first name is a whole number?</summary>
    /// <param name="reader">At the value. It is a copy: the caller's reader does not move.</param>
    public static bool IsNumbered(Utf8JsonReader reader) => reader.TokenType == JsonTokenType.StartObject
        && reader.Read() && reader.TokenType == JsonTokenType.PropertyName && !reader.ValueSpan.IsEmpty
        && !reader.ValueSpan.ContainsAnyExceptInRange((byte)'0', (byte)'9');

    /// <summary>Skips the choices that the reader is at, if they are in capitals.</summary>
    public static bool TrySkip(ref Utf8JsonReader reader) =>
        JsonText.Equals(ref reader, "Choices"u8) && JsonValue.SkipNext(ref reader) >= 0;

    /// <param name="json">An object that <see cref="Utf8JsonReader"/> accepts.</param>
    public static byte[] Of(ReadOnlySpan<byte> json)
    {
        var output = new ArrayBufferWriter<byte>(json.Length + 64);
        var reader = new Utf8JsonReader(json, JsonText.Options);
        // Whether each of the objects and arrays around the value is such a list.
        var lists = new Stack<bool>();
        var isFirst = true;
        while (reader.Read())
        {
            var token = json[(int)reader.TokenStartIndex..(int)reader.BytesConsumed];
            switch (reader.TokenType)
            {
                case JsonTokenType.EndObject or JsonTokenType.EndArray:
                    output.Write(lists.Pop() ? "]"u8 : token);
                    isFirst = false;
                    continue;
                case JsonTokenType.PropertyName when lists.Peek():
                    continue;
            }

            if (!isFirst)
                output.Write(","u8);
            isFirst = false;
            switch (reader.TokenType)
            {
                case JsonTokenType.PropertyName:
                    WriteName(output, reader.ValueSpan);
                    isFirst = true;
                    break;
                case JsonTokenType.StartObject or JsonTokenType.StartArray:
                    lists.Push(IsNumbered(reader));
                    output.Write(lists.Peek() ? "["u8 : token);
                    isFirst = true;
                    break;
                default:
                    output.Write(token);
                    break;
            }
        }

        return output.WrittenSpan.ToArray();
    }

    /// <summary>FinishReason becomes finish_reason; what begins in another way stays as it is.</summary>
    private static void WriteName(ArrayBufferWriter<byte> output, ReadOnlySpan<byte> name)
    {
        output.Write("\""u8);
        var isCapital = name is [>= (byte)'A' and <= (byte)'Z', ..];
        var wasLower = false;
        foreach (var letter in name)
        {
            var isUpper = isCapital && letter is >= (byte)'A' and <= (byte)'Z';
            if (isUpper && wasLower)
                output.Write("_"u8);
            output.Write([isUpper ? (byte)(letter | 0x20) : letter]);
            wasLower = letter is >= (byte)'a' and <= (byte)'z';
        }

        output.Write("\":"u8);
    }
}
