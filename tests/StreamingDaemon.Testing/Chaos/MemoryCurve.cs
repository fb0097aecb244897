using System.Globalization;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>Is resident memory flat over a long run? The first third is left out: pools fill, code is
/// compiled.</summary>
public static class MemoryCurve
{
    /// <summary>The median of the last third may be this much of that of the middle third. The medians of a flat
    /// run differ by some per cent; over 200,000 streams a leak of a few hundred bytes each shows.</summary>
    public const double MostGrowth = 1.15;

    /// <summary>Fewer samples say nothing.</summary>
    public const int FewestSamples = 9;

    /// <returns>Null where it is flat, or where there are too few samples to tell; else what is wrong.</returns>
    public static string? Judge(IReadOnlyList<long> residentKb)
    {
        if (residentKb.Count < FewestSamples)
            return null;
        var third = residentKb.Count / 3;
        var last = Median(residentKb.Skip(residentKb.Count - third));
        var middle = Median(residentKb.Skip(residentKb.Count - 2 * third).Take(third));
        return last <= middle * MostGrowth
            ? null
            : string.Create(CultureInfo.InvariantCulture,
                $"resident memory is not flat: {last} KB in the last third, {middle} KB in the middle one");
    }

    private static long Median(IEnumerable<long> values)
    {
        var sorted = values.Order().ToList();
        return sorted[sorted.Count / 2];
    }
}
