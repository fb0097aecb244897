using System.Text.Json;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads the fields that choose the form of the answer.</summary>
internal static class FormatReader
{
    /// <summary>Reads a field of the answer's form.</summary>
    /// <returns>False if it is another field; the reader then has not moved.</returns>
    public static bool TryRead(ref Utf8JsonReader reader, HandoffRequest request)
    {
        if (JsonText.Equals(ref reader, "format"u8))
            request.Format = ReadFormat(ref reader, request);
        else if (JsonText.Equals(ref reader, "events"u8))
            request.Events = ReadEvents(ref reader, request);
        else
            return false;
        return true;
    }

    private static string? ReadFormat(ref Utf8JsonReader reader, HandoffRequest request)
    {
        reader.Read();
        if (reader.TokenType == JsonTokenType.String)
        {
            var name = JsonText.Read(ref reader);
            if (name.Length is > 0 and <= HandoffRequestReader.MaxNameLength)
                return name;
            if (name.Length > 0)
                request.NoteUnusable("format");
            return null;
        }

        if (reader.TokenType != JsonTokenType.Null)
            request.NoteUnusable("format");
        reader.Skip();
        return null;
    }

    /// <summary>Reads an array of names. Unknown ones are noted, and the rest is used.</summary>
    private static DeltaKinds? ReadEvents(ref Utf8JsonReader reader, HandoffRequest request)
    {
        reader.Read();
        if (reader.TokenType != JsonTokenType.StartArray && !PhpArrays.IsList(reader))
        {
            if (reader.TokenType != JsonTokenType.Null)
                request.NoteUnusable("events");
            reader.Skip();
            return null;
        }

        var events = DeltaKinds.None;
        var isWhole = true;
        while (PhpArrays.ReadItem(ref reader))
        {
            var kind = reader.TokenType == JsonTokenType.String
                ? StreamEvents.Find(JsonText.Read(ref reader))
                : DeltaKinds.None;
            reader.Skip();
            isWhole &= kind != DeltaKinds.None;
            events |= kind;
        }

        if (!isWhole)
            request.NoteUnusable("events");
        return events;
    }
}
