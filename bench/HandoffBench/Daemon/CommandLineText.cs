using System.Text;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>
/// A daemon's command line as typed: words, quotes, and <c>NAME=value</c> before the program.
/// </summary>
internal sealed record CommandLineText(
    IReadOnlyDictionary<string, string> Environment, string Program, IReadOnlyList<string> Arguments)
{
    /// <exception cref="FormatException">There is no program, or a quote is not closed.</exception>
    public static CommandLineText Parse(string text)
    {
        var words = Split(text);
        var environment = new Dictionary<string, string>();
        var first = 0;
        while (first < words.Count && words[first].IndexOf('=') is > 0 and var equals
            && words[first].AsSpan(0, equals).IndexOfAnyExcept(s_nameCharacters) < 0)
        {
            environment[words[first][..equals]] = words[first][(equals + 1)..];
            first++;
        }

        if (first == words.Count)
            throw new FormatException($"no program in '{text}'");
        return new CommandLineText(environment, words[first], words[(first + 1)..]);
    }

    private static readonly System.Buffers.SearchValues<char> s_nameCharacters =
        System.Buffers.SearchValues.Create("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_");

    private static List<string> Split(string text)
    {
        var words = new List<string>();
        var word = new StringBuilder();
        var isWord = false;
        var quote = '\0';
        foreach (var c in text)
        {
            if (quote != '\0')
            {
                if (c == quote)
                    quote = '\0';
                else
                    word.Append(c);
            }
            else if (c is '"' or '\'')
            {
                quote = c;
                isWord = true;
            }
            else if (c == ' ')
            {
                if (isWord)
                    words.Add(word.ToString());
                word.Clear();
                isWord = false;
            }
            else
            {
                word.Append(c);
                isWord = true;
            }
        }

        if (quote != '\0')
            throw new FormatException($"a quote is not closed in '{text}'");
        if (isWord)
            words.Add(word.ToString());
        return words;
    }
}
