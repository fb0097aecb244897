using System.Text;

namespace StreamingDaemon.Host.Configuration.Toml;

/// <summary>
/// The part of a file that the parser gets: all except blank lines and comment lines. The parser makes
/// objects for each token and each mistake, so a megabyte of them takes hundreds; a megabyte of comment must
/// not.
/// </summary>
internal sealed class TomlText
{
    /// <summary>Characters without comments. Every option set at its longest takes a tenth of it.</summary>
    public const int Most = 64 * 1024;

    private readonly List<int> _lines = [];
    private int _next;

    private TomlText(string text)
    {
        // Inside multi-line text, a line that begins with # is not a comment.
        var multiLine = Math.Min(IndexOrEnd(text, "\"\"\""), IndexOrEnd(text, "'''"));
        var kept = new StringBuilder();
        for (var begin = 0; begin < text.Length; _next++)
        {
            var end = text.IndexOf('\n', begin) is >= 0 and var found ? found + 1 : text.Length;
            var line = text.AsSpan(begin, end - begin);
            if (end > multiLine || !IsBlankOrComment(line))
            {
                if (kept.Length + line.Length > Most)
                {
                    IsTooLong = true;
                    break;
                }

                kept.Append(line);
                _lines.Add(_next);
            }

            begin = end;
        }

        Text = kept.ToString();
    }

    public string Text { get; }

    public bool IsTooLong { get; }

    public static TomlText Of(string text) => new(text);

    /// <summary>The file's line number for a line of <see cref="Text"/>; both from 1.</summary>
    public int LineOf(int line) => 1 + (line <= _lines.Count ? _lines[line - 1] : _next);

    private static int IndexOrEnd(string text, string what) =>
        text.IndexOf(what, StringComparison.Ordinal) is >= 0 and var found ? found : text.Length;

    /// <summary>A control character is a mistake in a comment too: leave it for the parser to find.</summary>
    private static bool IsBlankOrComment(ReadOnlySpan<char> line)
    {
        line = line.TrimEnd("\r\n").Trim(" \t");
        if (line.IsEmpty)
            return true;
        return line[0] == '#' && line.IndexOfAnyInRange('\0', '\b') < 0
            && line.IndexOfAnyInRange('\n', '\x1f') < 0 && !line.Contains('\x7f');
    }
}
