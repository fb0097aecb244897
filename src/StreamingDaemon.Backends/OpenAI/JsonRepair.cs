using System.Buffers;
using System.Text;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Makes JSON of what servers write in its place: <c>NaN</c>, <c>Infinity</c> and <c>None</c>, which Python
/// prints, JavaScript's <c>undefined</c>, control characters inside strings, <c>\'</c>, a comma after the
/// last member.
/// </summary>
internal static class JsonRepair
{
    private static readonly (byte[] Word, byte[] Json)[] s_words =
    [
        .. ((string[])["NaN", "Infinity", "-Infinity", "nan", "inf", "-inf", "None", "undefined"])
            .Select(word => (Encoding.ASCII.GetBytes(word), "null"u8.ToArray())),
        ("True"u8.ToArray(), "true"u8.ToArray()), ("False"u8.ToArray(), "false"u8.ToArray()),
    ];

    /// <summary>Repairs a text that is no JSON.</summary>
    /// <returns>Null if there is nothing to repair, which does not say that the text is JSON.</returns>
    public static byte[]? Repair(ReadOnlySpan<byte> json)
    {
        var output = new ArrayBufferWriter<byte>(json.Length + 16);
        var isChanged = false;
        while (!json.IsEmpty)
        {
            var length = json[0] == (byte)'"'
                ? CopyString(json, output, ref isChanged)
                : CopyOther(json, output, ref isChanged);
            json = json[length..];
        }

        return isChanged ? output.WrittenSpan.ToArray() : null;
    }

    /// <summary>What is outside of strings.</summary>
    /// <returns>Bytes read.</returns>
    private static int CopyOther(ReadOnlySpan<byte> json, ArrayBufferWriter<byte> output, ref bool isChanged)
    {
        foreach (var (word, replacement) in s_words)
        {
            if (json.StartsWith(word))
            {
                isChanged = true;
                output.Write(replacement);
                return word.Length;
            }
        }

        if (json[0] == (byte)',' && json[1..].TrimStart(" \t\r\n"u8) is [(byte)'}' or (byte)']', ..])
            isChanged = true;
        else
            output.Write(json[..1]);
        return 1;
    }

    /// <summary>A string with its quotes.</summary>
    /// <returns>Bytes read.</returns>
    private static int CopyString(ReadOnlySpan<byte> json, ArrayBufferWriter<byte> output, ref bool isChanged)
    {
        output.Write(json[..1]);
        for (var at = 1; at < json.Length; at++)
        {
            var next = json[at];
            if (next == (byte)'\\' && at + 1 < json.Length)
            {
                var isApostrophe = json[at + 1] == (byte)'\'';
                isChanged |= isApostrophe;
                output.Write(json.Slice(isApostrophe ? at + 1 : at, isApostrophe ? 1 : 2));
                at++;
            }
            else if (next < ' ')
            {
                isChanged = true;
                output.Write(Encoding.ASCII.GetBytes($"\\u{(int)next:x4}"));
            }
            else
            {
                output.Write(json.Slice(at, 1));
                if (next == (byte)'"')
                    return at + 1;
            }
        }

        return json.Length;
    }
}
