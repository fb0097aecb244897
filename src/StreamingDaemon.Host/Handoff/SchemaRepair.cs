using System.Buffers;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// Schemas that PHP wrote (<see cref="PhpArrays"/>). Servers refuse <c>"properties":[]</c> of a function
/// without parameters, <c>"required":{"1":"city"}</c> and <c>"strict":"1"</c>. Such a value becomes what the
/// keyword takes; everything else stays byte for byte.
/// </summary>
internal static class SchemaRepair
{
    /// <summary>What JSON Schema has at a place.</summary>
    private enum Place
    {
        Any,
        List,
        Object,

        /// <summary>An object whose values are schemas.</summary>
        Map,

        /// <summary>True or false.</summary>
        Flag,

        /// <summary>True, false or a schema.</summary>
        FlagOrObject,

        /// <summary>A number.</summary>
        Number,

        /// <summary>Data of the application: nothing in it is a schema.</summary>
        Data,
    }

    /// <summary>Deeper lists stay as they are: each one is looked at twice.</summary>
    private const int DeepestList = 64;

    /// <summary>Repairs <c>tools</c>, <c>functions</c> or <c>response_format</c>.</summary>
    /// <param name="json">The value.</param>
    /// <param name="isList">True if the value itself is a list.</param>
    public static ReadOnlySpan<byte> Repair(ReadOnlySpan<byte> json, bool isList)
    {
        List<Edit>? edits = null;
        var reader = new Utf8JsonReader(json, HandoffRequestReader.Options);
        reader.Read();
        Walk(ref reader, json, isList ? Place.List : Place.Any, ref edits);
        if (edits is null)
            return json;
        var output = new ArrayBufferWriter<byte>(json.Length);
        var written = 0;
        foreach (var edit in edits)
        {
            output.Write(json[written..edit.Start]);
            output.Write(edit.Text.Span);
            written = edit.End;
        }

        output.Write(json[written..]);
        return output.WrittenSpan;
    }

    /// <summary>Walks a value. The reader is at its start, and ends at its end.</summary>
    private static void Walk(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> json, Place place, ref List<Edit>? edits)
    {
        if (place == Place.Data)
            reader.Skip();
        else if (reader.TokenType == JsonTokenType.StartArray)
            WalkArray(ref reader, json, place, ref edits);
        else if (reader.TokenType == JsonTokenType.StartObject)
            WalkObject(ref reader, json, place, ref edits);
        else if (place >= Place.Flag)
            WalkScalar(ref reader, json, place, ref edits);
    }

    /// <summary>A boolean or a number that came as a string.</summary>
    private static void WalkScalar(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> json, Place place, ref List<Edit>? edits)
    {
        var (start, end) = ((int)reader.TokenStartIndex, (int)reader.BytesConsumed);
        var value = json[start..end];
        var repaired = place == Place.Number
            ? PhpScalars.Number(reader.TokenType, value, isInteger: false)
            : PhpScalars.Flag(reader.TokenType, value);
        if (repaired is not null && !value.SequenceEqual(repaired))
            (edits ??= []).Add(new Edit(start, end, repaired));
    }

    private static void WalkArray(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> json, Place place, ref List<Edit>? edits)
    {
        var (start, isEmpty) = ((int)reader.TokenStartIndex, true);
        for (; reader.Read() && reader.TokenType != JsonTokenType.EndArray; isEmpty = false)
            Walk(ref reader, json, Place.Any, ref edits);
        if (isEmpty && place is Place.Object or Place.Map or Place.FlagOrObject)
            (edits ??= []).Add(new Edit(start, (int)reader.BytesConsumed, "{}"u8.ToArray()));
    }

    private static void WalkObject(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> json, Place place, ref List<Edit>? edits)
    {
        var isList = place == Place.List && reader.CurrentDepth < DeepestList && PhpArrays.IsList(reader);
        if (isList)
            Replace(ref reader, "["u8, ref edits);
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = (int)reader.TokenStartIndex;
            var inside = isList ? Place.Any : place == Place.Map ? Place.Object : PlaceOf(ref reader);
            reader.Read();
            if (isList)
                edits!.Add(new Edit(name, (int)reader.TokenStartIndex, default));
            Walk(ref reader, json, inside, ref edits);
        }

        if (isList)
            Replace(ref reader, "]"u8, ref edits);
    }

    private static void Replace(
        ref Utf8JsonReader reader, ReadOnlySpan<byte> bracket, ref List<Edit>? edits) =>
        (edits ??= []).Add(new Edit(
            (int)reader.TokenStartIndex, (int)reader.BytesConsumed, bracket.ToArray()));

    private static Place PlaceOf(ref Utf8JsonReader reader) => JsonText.Read(ref reader) switch
    {
        "properties" or "patternProperties" or "$defs" or "definitions" => Place.Map,
        "parameters" or "schema" or "items" => Place.Object,
        "required" or "anyOf" or "oneOf" or "allOf" or "prefixItems" => Place.List,
        "strict" or "uniqueItems" or "nullable" => Place.Flag,
        "additionalProperties" => Place.FlagOrObject,
        "minimum" or "maximum" or "minLength" or "maxLength" or "minItems" or "maxItems" or "multipleOf" =>
            Place.Number,
        "enum" or "const" or "default" or "examples" => Place.Data,
        _ => Place.Any,
    };

    /// <summary>Bytes to replace.</summary>
    private readonly record struct Edit(int Start, int End, ReadOnlyMemory<byte> Text);
}
