using System.Globalization;

namespace StreamingDaemon.Backends;

/// <summary>The application's user: an integer, any other text, or none. 0 is a user too.</summary>
public readonly record struct UserId
{
    private readonly bool _isNumber;
    private readonly long _number;

    /// <summary>A user that is an integer.</summary>
    public UserId(long number) => (_isNumber, _number) = (true, number);

    /// <summary>A user that is a text. An integer in its shortest form is the same user as that
    /// integer.</summary>
    /// <param name="text">Not empty.</param>
    public UserId(string text)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        _isNumber = long.TryParse(
                text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out _number)
            && _number.ToString(CultureInfo.InvariantCulture) == text;
        if (_isNumber)
            return;
        _number = 0;
        Text = text;
    }

    /// <summary>True if no user is known.</summary>
    public bool IsNone => !_isNumber && Text is null;

    /// <summary>The integer; null if the user is none.</summary>
    public long? Number => _isNumber ? _number : null;

    /// <summary>The text; null if the user is an integer, or none.</summary>
    public string? Text { get; }

    /// <summary>Makes a user of an integer.</summary>
    public static implicit operator UserId(long number) => new(number);

    /// <summary>Makes a user of an integer.</summary>
    public static UserId FromInt64(long number) => new(number);

    /// <summary>The integer or the text; empty if no user is known.</summary>
    public override string ToString() =>
        _isNumber ? _number.ToString(CultureInfo.InvariantCulture) : Text ?? "";
}
