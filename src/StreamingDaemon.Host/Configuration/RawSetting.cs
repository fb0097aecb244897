namespace StreamingDaemon.Host.Configuration;

/// <summary>The kind that a source gives a value, before the option table checks it.</summary>
internal enum RawKind
{
    /// <summary>From the environment or the command line, which have no types.</summary>
    Text,
    String,
    Integer,

    /// <summary>A number such as 0660, which C reads as octal and TOML does not allow.</summary>
    LeadingZero,
    Boolean,

    /// <summary>An array of integers; its text is the numbers, separated by commas.</summary>
    IntegerList,

    /// <summary>An array of strings that is not empty; its text is the strings, separated by commas.
    /// </summary>
    StringList,

    /// <summary>A float, a date, another array or a table: no option takes one.</summary>
    Other,
}

/// <summary>
/// One value as a source spells it, and where it stands. Not a record: it may hold a secret.
/// </summary>
internal sealed class RawSetting(string key, string text, RawKind kind, string origin)
{
    /// <summary>Most settings in a file. The daemon has about 70 options.</summary>
    public const int Most = 1_000;

    /// <summary>Shortens a part of a key. A part longer than any of ours is repeated for each setting below
    /// it.</summary>
    public static string Cut(string part) => part.Length <= LongestPart ? part : part[..LongestPart] + "…";

    private const int LongestPart = 64;

    /// <summary>Path as written, segments joined by a colon.</summary>
    public string Key => key;

    /// <summary>The value; for a number, as written.</summary>
    public string Text => text;
    public RawKind Kind => kind;

    /// <summary>Value of an <see cref="RawKind.Integer"/>.</summary>
    public long Number { get; init; }

    /// <summary>
    /// The start of an error message: file, line and key, or a variable, or an option.
    /// </summary>
    public string Origin => origin;

    /// <summary>The value as a message quotes it, cut if it is long; not at all if it may be a key in the
    /// wrong place.</summary>
    public string Quoted
    {
        get
        {
            if (ShownValue.MayBeKey(text))
                return ShownValue.Of(text);
            var shown = text.Length > 60 ? text[..60] + "…" : text;
            return kind switch
            {
                RawKind.String => $"\"{shown}\"",
                RawKind.Text => $"'{shown}'",
                RawKind.IntegerList or RawKind.StringList => $"[{shown}]",
                _ => shown,
            };
        }
    }
}
