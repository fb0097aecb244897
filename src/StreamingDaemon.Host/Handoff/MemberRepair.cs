using System.Buffers;
using System.Collections.Frozen;
using System.Text.Json;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Booleans and numbers inside of parameters that are objects, as PHP forms and databases have them:
/// <c>{"include_usage":"1"}</c> (<see cref="PhpScalars"/>). Servers refuse them, or take "false" for true.
/// Only members of known names change; everything else stays byte for byte.</summary>
internal static class MemberRepair
{
    private enum MemberKind
    {
        Flag,
        Number,
        Integer,
    }

    /// <summary>Stands for all members of an object.</summary>
    private const string Any = "*";

    private static readonly FrozenDictionary<string, (string Name, MemberKind Kind)[]> s_members =
        new Dictionary<string, (string, MemberKind)[]>
        {
            ["stream_options"] =
            [
                ("include_usage", MemberKind.Flag), ("include_obfuscation", MemberKind.Flag),
                ("continuous_usage_stats", MemberKind.Flag),
            ],
            ["logit_bias"] = [(Any, MemberKind.Number)],
            // Parameters of OpenRouter, of Anthropic behind gateways, and of vLLM and SGLang.
            ["reasoning"] =
            [
                ("enabled", MemberKind.Flag), ("exclude", MemberKind.Flag),
                ("max_tokens", MemberKind.Integer),
            ],
            ["thinking"] = [("budget_tokens", MemberKind.Integer)],
            ["chat_template_kwargs"] = [("enable_thinking", MemberKind.Flag), ("thinking", MemberKind.Flag)],
        }.ToFrozenDictionary(StringComparer.Ordinal);

    /// <summary>Repairs the members of a parameter's object.</summary>
    /// <param name="parameter">Its name.</param>
    /// <param name="json">Its value.</param>
    public static ReadOnlySpan<byte> Repair(string parameter, ReadOnlySpan<byte> json)
    {
        if (json[0] != (byte)'{' || !s_members.TryGetValue(parameter, out var members))
            return json;
        ArrayBufferWriter<byte>? output = null;
        var written = 0;
        var reader = new Utf8JsonReader(json, HandoffRequestReader.Options);
        reader.Read();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var name = JsonText.Read(ref reader);
            reader.Read();
            var (start, token) = ((int)reader.TokenStartIndex, reader.TokenType);
            var value = JsonText.Skip(ref reader, json);
            if (Repaired(members, name, token, value) is not { } repaired || value.SequenceEqual(repaired))
                continue;
            output ??= new ArrayBufferWriter<byte>(json.Length);
            output.Write(json[written..start]);
            output.Write(repaired);
            written = start + value.Length;
        }

        if (output is null)
            return json;
        output.Write(json[written..]);
        return output.WrittenSpan;
    }

    /// <summary>The value of a known member; null if it stays as it is.</summary>
    private static byte[]? Repaired((string Name, MemberKind Kind)[] members, string name,
        JsonTokenType token, ReadOnlySpan<byte> value)
    {
        foreach (var (known, kind) in members)
        {
            if (known != name && known != Any)
                continue;
            return kind != MemberKind.Flag
                ? PhpScalars.Number(token, value, kind == MemberKind.Integer)
                : PhpScalars.Flag(token, value);
        }

        return null;
    }
}
