using System.Globalization;

namespace StreamingDaemon.Host.Configuration;

/// <summary>A number of bytes: 268435456, or with a unit as Kubernetes and systemd spell it: 256Mi, 256M,
/// 1G.</summary>
internal sealed class ByteSizeType(long min, long max, string? zero = null) : OptionType<long>
{
    /// <summary>Values are written with the first three; no suffix ends with another.</summary>
    private static readonly Unit[] s_units =
    [
        new("Ki", 10), new("Mi", 20), new("Gi", 30), new("KiB", 10), new("MiB", 20), new("GiB", 30),
        new("K", 10), new("M", 20), new("G", 30),
    ];

    private static readonly Unit s_byte = new("", 0);

    private sealed record Unit(string Suffix, int Shift);

    public override string Expected =>
        $"bytes from {Format(min)} to {Format(max)}, with a unit if need be as in 256Mi"
        + (zero is null ? "" : $" (0 is {zero})");

    public override string Range => $"{(zero is null ? "" : "0, ")}{Format(min)} to {Format(max)}";

    public override string? Read(RawSetting raw, out long value)
    {
        value = 0;
        if (raw.Kind == RawKind.Integer)
            value = raw.Number;
        else if (raw.Kind is not (RawKind.Text or RawKind.String))
            return WrongKind(raw);
        else if (!TryParse(raw.Text, out value))
            return $"{raw.Quoted} is not a number of bytes";
        var isZero = value == 0 && zero is not null;
        return isZero || (value >= min && value <= max) ? null : $"{raw.Quoted} is out of range";
    }

    /// <summary>With the largest unit that gives a whole number.</summary>
    public override string Format(long value)
    {
        var unit = value == 0
            ? s_byte
            : s_units[..3].LastOrDefault(unit => value % (1L << unit.Shift) == 0, s_byte);
        return string.Create(CultureInfo.InvariantCulture, $"{value >> unit.Shift}{unit.Suffix}");
    }

    public override string ToToml(long value) => value == 0 ? "0" : $"\"{Format(value)}\"";

    public override string ToHelp(long value) => value == 0 ? "automatic" : Format(value);

    private static bool TryParse(string text, out long value)
    {
        var unit = s_units.FirstOrDefault(
            unit => text.EndsWith(unit.Suffix, StringComparison.OrdinalIgnoreCase), s_byte);
        var isNumber = long.TryParse(text.AsSpan(0, text.Length - unit.Suffix.Length), NumberStyles.None,
            CultureInfo.InvariantCulture, out value);
        if (!isNumber || value > long.MaxValue >> unit.Shift)
            return false;
        value <<= unit.Shift;
        return true;
    }
}
