namespace StreamingDaemon.Host.Configuration;

/// <summary>Finds the word that was probably meant.</summary>
internal static class Spelling
{
    /// <summary>None of our names is half as long, and the comparison's time grows with the length.</summary>
    private const int LongestWord = 64;

    /// <summary>Whether the word is the known one with one or two wrong letters, at most a third of
    /// them.</summary>
    public static bool IsSlip(string word, string known) => Math.Abs(word.Length - known.Length) <= 2
        && Distance(word, known) is var distance && distance <= 2 && distance * 3 <= known.Length;

    /// <summary>The nearest candidate, or null if none is near enough to be a typo.</summary>
    public static string? Closest(string word, IEnumerable<string> candidates)
    {
        if (word.Length > LongestWord)
            return null;
        var limit = Math.Max(2, word.Length / 4);
        var best = candidates
            .Select(candidate => (candidate, distance: Distance(word, candidate)))
            .DefaultIfEmpty((candidate: "", distance: int.MaxValue))
            .MinBy(pair => pair.distance);
        return best.distance <= limit && best.distance < word.Length ? best.candidate : null;
    }

    /// <summary>Letters to insert, delete or replace, regardless of case.</summary>
    private static int Distance(string a, string b)
    {
        var row = new int[b.Length + 1];
        for (var j = 0; j <= b.Length; j++)
            row[j] = j;
        for (var i = 1; i <= a.Length; i++)
        {
            var diagonal = row[0];
            row[0] = i;
            for (var j = 1; j <= b.Length; j++)
            {
                var same = char.ToLowerInvariant(a[i - 1]) == char.ToLowerInvariant(b[j - 1]);
                var replaced = diagonal + (same ? 0 : 1);
                diagonal = row[j];
                row[j] = Math.Min(replaced, 1 + Math.Min(row[j], row[j - 1]));
            }
        }
        return row[b.Length];
    }
}
