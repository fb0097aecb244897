using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Reads the fields of the handoff that go to the upstream as they are
/// (<see cref="ChatParameters"/>), and those that the daemon does not know.</summary>
internal static class ParameterReader
{
    /// <summary>Most unknown fields kept for the upstream. An API has a few dozen parameters; each field kept
    /// costs more memory than it has bytes.</summary>
    internal const int MostUnknown = 128;

    /// <summary>Reads the value of one field. null counts as absent.</summary>
    /// <param name="reader">At the field's name.</param>
    /// <param name="data">What the reader reads.</param>
    /// <param name="request">Gets the field.</param>
    /// <param name="keepsUnknown">True to keep the value of an unknown field.</param>
    public static void Read(ref Utf8JsonReader reader, ReadOnlySpan<byte> data, HandoffRequest request,
        bool keepsUnknown)
    {
        var name = JsonText.Read(ref reader);
        reader.Read();
        if (!ChatParameters.All.TryGetValue(name, out var kind))
        {
            ReadUnknown(ref reader, data, name, request, keepsUnknown);
            return;
        }

        var token = reader.TokenType;
        var json = JsonText.Skip(ref reader, data);
        // PHP writes an empty object, and a list without items, as []. For every parameter both mean nothing.
        if (token == JsonTokenType.Null || (token == JsonTokenType.StartArray && IsEmptyArray(json)))
        {
            request.SetParameter(name, null);
            return;
        }

        switch (kind)
        {
            case ParameterKind.Any:
                request.SetParameter(name, JsonText.Repair(MemberRepair.Repair(name, json).ToArray()));
                break;
            case ParameterKind.List or ParameterKind.Schemas or ParameterKind.Schema:
                request.SetParameter(name, JsonText.Repair(ListOf(kind, json).ToArray()));
                break;
            case ParameterKind.Boolean:
                request.SetParameter(name, PhpScalars.Flag(token, json) ?? JsonText.Repair(json.ToArray()));
                break;
            case ParameterKind.Number or ParameterKind.Integer
                when PhpScalars.Number(token, json, kind == ParameterKind.Integer) is { } number:
                request.SetParameter(name, number);
                break;
            case ParameterKind.Number or ParameterKind.Integer or ParameterKind.Foreign:
            case ParameterKind.Stream when PhpScalars.Boolean(token, json) != true:
                request.NoteUnusable(name);
                break;
        }
    }

    private static void ReadUnknown(ref Utf8JsonReader reader, ReadOnlySpan<byte> data, string name,
        HandoffRequest request, bool keepsUnknown)
    {
        var json = JsonText.Skip(ref reader, data);
        request.NoteUnknown(name);
        if (!keepsUnknown)
            return;
        if (request.UnknownParameters.Count < MostUnknown || request.UnknownParameters.ContainsKey(name))
            request.SetUnknown(name, JsonText.Repair(MemberRepair.Repair(name, json).ToArray()));
        else
            request.NoteUnusable(name);
    }

    internal static bool IsEmptyArray(ReadOnlySpan<byte> json) =>
        json[1..^1].IndexOfAnyExcept(" \t\r\n"u8) < 0;

    private static ReadOnlySpan<byte> ListOf(ParameterKind kind, ReadOnlySpan<byte> json) =>
        kind == ParameterKind.List
            ? PhpArrays.AsArray(json)
            : kind == ParameterKind.Schemas
                ? SchemaRepair.Repair(ToolDefinitions.AsArray(json), isList: true)
                : SchemaRepair.Repair(json, isList: false);
}
