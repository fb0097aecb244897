namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The values an option takes: how they are read, checked and written back.
/// </summary>
internal abstract class OptionType<T>
{
    /// <summary>What would be right; completes "expected …".</summary>
    public abstract string Expected { get; }

    /// <summary>The range alone, for a table; empty if the type says it all.</summary>
    public virtual string Range => Expected;

    /// <summary>Null if the value is right, otherwise what is wrong with it.</summary>
    public abstract string? Read(RawSetting raw, out T value);

    /// <summary>The one spelling of a value inside the configuration.</summary>
    public abstract string Format(T value);

    /// <summary>The value as TOML spells it.</summary>
    public virtual string ToToml(T value) => $"\"{Format(value)}\"";

    /// <summary>The value as a person reads it in help and tables.</summary>
    public virtual string ToHelp(T value) => Format(value) is { Length: > 0 } text ? text : "none";

    protected static string WrongKind(RawSetting raw) => raw.Kind switch
    {
        RawKind.String => $"{raw.Quoted} is a string",
        RawKind.Integer => $"{raw.Quoted} is a number",
        RawKind.LeadingZero => $"{raw.Quoted} is not a TOML number, which has no leading zeros",
        RawKind.Boolean => $"{raw.Quoted} is a boolean",
        RawKind.IntegerList => $"{raw.Quoted} is an array",
        RawKind.Text => $"{raw.Quoted} cannot be read",
        _ => "the value has a type that no option takes",
    };
}

/// <summary>A whole number within limits.</summary>
internal sealed class IntType(int min, int max, string? zero = null, bool powerOfTwo = false)
    : OptionType<int>
{
    private readonly string _zero = zero is null ? "" : $" (0 is {zero})";

    public override string Expected =>
        (powerOfTwo ? "a power of two" : "an integer") + $" from {min} to {max}{_zero}";

    public override string Range => $"{min} to {max}{_zero}" + (powerOfTwo ? ", a power of two" : "");

    public override string? Read(RawSetting raw, out int value)
    {
        value = 0;
        long number = 0;
        var readable = raw.Kind switch
        {
            RawKind.Integer => (number = raw.Number) == raw.Number,
            RawKind.Text => long.TryParse(raw.Text, System.Globalization.NumberStyles.AllowLeadingSign,
                System.Globalization.CultureInfo.InvariantCulture, out number),
            _ => false,
        };
        if (!readable)
            return raw.Kind == RawKind.Text ? $"{raw.Quoted} is not a number" : WrongKind(raw);
        if (number < min || number > max)
            return $"{raw.Quoted} is out of range";
        if (powerOfTwo && !long.IsPow2(number))
            return $"{raw.Quoted} is not a power of two";
        value = (int)number;
        return null;
    }

    public override string Format(int value) =>
        value.ToString(System.Globalization.CultureInfo.InvariantCulture);

    public override string ToToml(int value) => Format(value);

    public override string ToHelp(int value) => value == 0 && zero is not null ? zero : Format(value);
}

/// <summary>Whole numbers from 0: an array in files, comma-separated elsewhere.</summary>
internal sealed class IntListType : OptionType<IReadOnlyList<int>>
{
    public override string Expected =>
        $"integers from 0 to {int.MaxValue}, [33, 1000] in a file and 33,1000 elsewhere";
    public override string Range => "integers; empty is off";

    public override string? Read(RawSetting raw, out IReadOnlyList<int> value)
    {
        value = [];
        if (raw.Kind is not (RawKind.IntegerList or RawKind.Text))
            return WrongKind(raw);
        var list = new List<int>();
        foreach (var part in raw.Text.Split(',', StringSplitOptions.TrimEntries))
        {
            if (part.Length == 0 && list.Count == 0 && !raw.Text.Contains(','))
                return null;
            if (!int.TryParse(part, System.Globalization.NumberStyles.None,
                System.Globalization.CultureInfo.InvariantCulture, out var number))
            {
                return $"'{part}' in {raw.Quoted} is not such a number";
            }

            list.Add(number);
        }

        value = list;
        return null;
    }

    public override string Format(IReadOnlyList<int> value) => string.Join(',', value);

    public override string ToToml(IReadOnlyList<int> value) => $"[{string.Join(", ", value)}]";
}

/// <summary>
/// On or off. Files say true or false; the environment accepts the other usual words too.
/// </summary>
internal sealed class BoolType : OptionType<bool>
{
    public override string Expected => "true or false";
    public override string Range => "true, false";

    public override string? Read(RawSetting raw, out bool value)
    {
        value = false;
        if (raw.Kind is not (RawKind.Boolean or RawKind.Text))
            return WrongKind(raw);
        switch (raw.Text.ToLowerInvariant())
        {
            case "true" or "1" or "yes" or "on":
                value = true;
                return null;
            case "false" or "0" or "no" or "off":
                return null;
            default:
                return $"{raw.Quoted} is neither true nor false (1, yes, on; 0, no, off)";
        }
    }

    public override string Format(bool value) => value ? "true" : "false";

    public override string ToToml(bool value) => Format(value);

    public override string ToHelp(bool value) => value ? "on" : "off";
}

/// <summary>On, off, or auto: the daemon decides.</summary>
internal sealed class AutoBoolType : OptionType<bool?>
{
    private const string Auto = "auto";
    private static readonly BoolType s_switch = new();

    public override string Expected => "true, false or \"auto\"";
    public override string Range => "auto, true, false";

    public override string? Read(RawSetting raw, out bool? value)
    {
        value = null;
        if (raw.Kind is RawKind.String or RawKind.Text
            && raw.Text.Equals(Auto, StringComparison.OrdinalIgnoreCase))
        {
            return null;
        }

        if (s_switch.Read(raw, out var isOn) is { } problem)
            return problem;
        value = isOn;
        return null;
    }

    public override string Format(bool? value) => value is { } isOn ? s_switch.Format(isOn) : Auto;

    public override string ToToml(bool? value) => value is { } isOn ? s_switch.ToToml(isOn) : $"\"{Auto}\"";

    public override string ToHelp(bool? value) => value is { } isOn ? s_switch.ToHelp(isOn) : Auto;
}

/// <summary>One of a few words.</summary>
internal sealed class ChoiceType<T>(params (string Word, T Value)[] choices) : OptionType<T>
    where T : notnull
{
    private readonly string[] _words = [.. choices.Select(choice => choice.Word)];

    public override string Expected => _words.Length == 2
        ? $"{_words[0]} or {_words[1]}"
        : $"{string.Join(", ", _words[..^1])} or {_words[^1]}";

    public override string Range => string.Join(", ", _words);

    public override string? Read(RawSetting raw, out T value)
    {
        value = choices[0].Value;
        if (raw.Kind is not (RawKind.String or RawKind.Text))
            return WrongKind(raw);
        foreach (var choice in choices)
        {
            if (!choice.Word.Equals(raw.Text, StringComparison.OrdinalIgnoreCase))
                continue;
            value = choice.Value;
            return null;
        }
        return Spelling.Closest(raw.Text, _words) is { } closest
            ? $"{raw.Quoted} is unknown, did you mean {closest}"
            : $"{raw.Quoted} is unknown";
    }

    public override string Format(T value) => choices.First(choice => choice.Value.Equals(value)).Word;
}
