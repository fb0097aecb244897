using System.Diagnostics.CodeAnalysis;

namespace StreamingDaemon.Host.Formats;

/// <summary>The formats that an answer can have.</summary>
internal static class StreamFormats
{
    /// <summary>The format of a site that chooses none.</summary>
    public static StreamFormat Default => TextFormat.Instance;

    /// <summary>All formats, the default one first.</summary>
    public static IReadOnlyList<StreamFormat> All { get; } = [TextFormat.Instance, new OpenAIFormat()];

    /// <summary>Their names, as a sentence lists them.</summary>
    public static string Names { get; } = string.Join(" and ", All.Select(format => format.Name));

    /// <summary>Finds the format of this name; case counts.</summary>
    public static bool TryGet(string name, [NotNullWhen(true)] out StreamFormat? format)
    {
        format = null;
        foreach (var known in All)
        {
            if (known.Name == name)
                format = known;
        }

        return format is not null;
    }
}
