using System.Globalization;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>Checks that resident memory stays flat over a long run. Skips the first third, in which pools
/// fill and code is compiled.</summary>
public static class MemoryCurve
{
    /// <summary>The highest allowed ratio of two medians: last third to middle third. In a flat run they
    /// differ by a few per cent. Over 200,000 streams, this finds a leak of a few hundred bytes per
    /// stream.</summary>
    public const double MostGrowth = 1.15;

    /// <summary>With fewer samples, there is no verdict.</summary>
    public const int FewestSamples = 9;

    /// <returns>Null if it is flat or if there are too few samples; else the complaint.</returns>
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
