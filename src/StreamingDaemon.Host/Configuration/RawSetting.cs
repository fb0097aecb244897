namespace StreamingDaemon.Host.Configuration;

/// <summary>What a source says a value is, before the option table says what it must be.</summary>
internal enum RawKind
{
    /// <summary>From the environment or the command line, which know no types.</summary>
    Text,
    String,
    Integer,

    /// <summary>A number such as 0660, which C reads as octal and TOML does not allow.</summary>
    LeadingZero,
    Boolean,

    /// <summary>An array of integers; its text is they, with commas between.</summary>
    IntegerList,

    /// <summary>A float, a date, another array or a table: no option takes one.</summary>
    Other,
}

/// <summary>
/// One value as a source spells it, and where that is. Not a record: it may hold a secret.
/// </summary>
internal sealed class RawSetting(string key, string text, RawKind kind, string origin)
{
    /// <summary>That a file may hold. The daemon has about 70 options.</summary>
    public const int Most = 1_000;

    /// <summary>A part of a key. One that is longer than any of ours comes back once for each setting below
    /// it.</summary>
    public static string Cut(string part) => part.Length <= LongestPart ? part : part[..LongestPart] + "…";

    private const int LongestPart = 64;

    /// <summary>Path as written, segments joined by a colon.</summary>
    public string Key => key;

    /// <summary>The value; of a number, as written.</summary>
    public string Text => text;
    public RawKind Kind => kind;

    /// <summary>Value of an <see cref="RawKind.Integer"/>.</summary>
    public long Number { get; init; }

    /// <summary>
    /// What an error message begins with: file, line and key, or a variable, or an option.
    /// </summary>
    public string Origin => origin;

    /// <summary>The value as a message quotes it, cut where it is long.</summary>
    public string Quoted
    {
        get
        {
            var shown = text.Length > 60 ? text[..60] + "…" : text;
            return kind switch
            {
                RawKind.String => $"\"{shown}\"",
                RawKind.Text => $"'{shown}'",
                RawKind.IntegerList => $"[{shown}]",
                _ => shown,
            };
        }
    }
}
