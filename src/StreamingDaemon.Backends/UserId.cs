using System.Globalization;

namespace StreamingDaemon.Backends;

/// <summary>The application's user: an integer, any other text, or none. 0 is a user too.</summary>
public readonly record struct UserId
{
    /// <summary>Takes the text's place if the user is an integer. A flag of its own would take eight bytes in
    /// each stream.</summary>
    private static readonly string s_number = new('0', 1);

    private readonly string? _text;
    private readonly long _number;

    /// <summary>A user that is an integer.</summary>
    public UserId(long number) => (_text, _number) = (s_number, number);

    /// <summary>A user that is a text. An integer in its shortest form is the same user as that
    /// integer.</summary>
    /// <param name="text">Not empty.</param>
    public UserId(string text)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out var number)
            && number.ToString(CultureInfo.InvariantCulture) == text)
        {
            (_text, _number) = (s_number, number);
        }
        else
        {
            _text = text;
        }
    }

    /// <summary>True if no user is known.</summary>
    public bool IsNone => _text is null;

    /// <summary>The integer; null if the user is none.</summary>
    public long? Number => IsNumber ? _number : null;

    /// <summary>The text; null if the user is an integer, or none.</summary>
    public string? Text => IsNumber ? null : _text;

    private bool IsNumber => ReferenceEquals(_text, s_number);

    /// <summary>Makes a user of an integer.</summary>
    public static implicit operator UserId(long number) => new(number);

    /// <summary>Makes a user of an integer.</summary>
    public static UserId FromInt64(long number) => new(number);

    /// <summary>The integer or the text; empty if no user is known.</summary>
    public override string ToString() =>
        IsNumber ? _number.ToString(CultureInfo.InvariantCulture) : _text ?? "";
}
