using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Reads chat completion chunks: the text of choice 0 goes straight from the event's bytes into one buffer
/// that the stream owns, without a string or an object for each. Used by one stream at a time.
/// </summary>
/// <param name="secret">The key, which <see cref="Error"/> must not contain.</param>
internal sealed class ChunkReader(string secret) : IDisposable
{
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(256);
    private int _length;

    /// <summary>Text of the last event, perhaps empty; valid until the next.</summary>
    public ReadOnlyMemory<byte> Text => _buffer.AsMemory(0, _length);

    /// <summary>True once choice 0 carried a finish reason.</summary>
    public bool SawFinishReason { get; private set; }

    /// <summary>The upstream's name for the last <see cref="EventKind.Error"/>, if it has one.</summary>
    public string? Error { get; private set; }

    /// <summary>The parser's callback, once an event.</summary>
    public EventKind Read(string eventType, ReadOnlySpan<byte> data)
    {
        _length = 0;
        data = data.Trim(" \t\r\n"u8);
        if (data.IsEmpty)
            return EventKind.Delta; // A heartbeat of the "data:" kind.
        if (data.SequenceEqual("[DONE]"u8))
            return EventKind.Done;
        if (data[0] != (byte)'{')
            return EventKind.Malformed;

        try
        {
            var isError = ReadRoot(data) || eventType == "error";
            if (!isError)
                return EventKind.Delta;
            Error = UpstreamErrorCode.FromBody(data, secret);
            return EventKind.Error;
        }
        catch (JsonException)
        {
            _length = 0;
            return EventKind.Malformed;
        }
    }

    public void Dispose()
    {
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
        _length = 0;
    }

    /// <returns>True if the object carries an error.</returns>
    private bool ReadRoot(ReadOnlySpan<byte> data)
    {
        var reader = new Utf8JsonReader(data);
        var isError = false;
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "choices"u8))
            {
                reader.Read();
                ReadChoices(ref reader);
            }
            else if (JsonText.Equals(ref reader, "error"u8))
            {
                reader.Read();
                isError |= reader.TokenType is JsonTokenType.StartObject
                    || (reader.TokenType is JsonTokenType.String && !reader.ValueSpan.IsEmpty);
                reader.Skip();
            }
            else
            {
                reader.Skip();
            }
        }

        // Throws if anything follows the object.
        reader.Read();
        return isError;
    }

    private void ReadChoices(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
        {
            reader.Skip();
            return;
        }

        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            if (reader.TokenType == JsonTokenType.StartObject)
                ReadChoice(ref reader);
            else
                reader.Skip();
        }
    }

    private void ReadChoice(ref Utf8JsonReader reader)
    {
        var textBefore = _length;
        var index = 0;
        var isFinished = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (JsonText.Equals(ref reader, "delta"u8))
            {
                reader.Read();
                ReadDelta(ref reader);
            }
            else if (JsonText.Equals(ref reader, "index"u8))
            {
                reader.Read();
                if (reader.TokenType == JsonTokenType.Number && !reader.TryGetInt32(out index))
                    index = -1;
                reader.Skip();
            }
            else if (JsonText.Equals(ref reader, "finish_reason"u8))
            {
                reader.Read();
                // Some servers send "" for "not yet".
                isFinished = reader.TokenType == JsonTokenType.String && !reader.ValueSpan.IsEmpty;
                reader.Skip();
            }
            else
            {
                reader.Skip();
            }
        }

        // The index may come after the text: if the choice is not ours, its text is removed again.
        if (index != 0)
            _length = textBefore;
        else
            SawFinishReason |= isFinished;
    }

    private void ReadDelta(ref Utf8JsonReader reader)
    {
        if (reader.TokenType != JsonTokenType.StartObject)
        {
            reader.Skip();
            return;
        }

        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isContent = JsonText.Equals(ref reader, "content"u8);
            reader.Read();
            if (isContent && reader.TokenType == JsonTokenType.String)
                AppendText(ref reader);
            else
                reader.Skip();
        }
    }

    private void AppendText(ref Utf8JsonReader reader)
    {
        // Unescaping only shortens; each bad byte may become the three bytes of U+FFFD.
        EnsureFree(reader.ValueSpan.Length);
        try
        {
            _length += reader.CopyString(_buffer.AsSpan(_length));
        }
        catch (InvalidOperationException)
        {
            // A lone surrogate, or bytes that are not UTF-8. Rare, so an exception is cheap enough.
            EnsureFree(3 * reader.ValueSpan.Length);
            _length += JsonText.Decode(reader.ValueSpan, _buffer.AsSpan(_length));
        }
    }

    private void EnsureFree(int count)
    {
        if (_buffer.Length - _length >= count)
            return;
        var larger = ArrayPool<byte>.Shared.Rent(Math.Max(_buffer.Length * 2, _length + count));
        _buffer.AsSpan(0, _length).CopyTo(larger);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = larger;
    }
}

/// <summary>A <see cref="ChunkReader"/> in the form that the response pump takes.</summary>
internal readonly struct ChunkEvents(ChunkReader chunks) : IEventReader
{
    public static string ExpectedEnd => "[DONE] or a finish reason";

    public ReadOnlyMemory<byte> Text => chunks.Text;

    public bool IsFinished => chunks.SawFinishReason;

    public string? Error => chunks.Error;

    public EventKind Read(string eventType, ReadOnlySpan<byte> data) => chunks.Read(eventType, data);

    public void Dispose() => chunks.Dispose();
}
