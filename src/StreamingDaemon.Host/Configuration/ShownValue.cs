namespace StreamingDaemon.Host.Configuration;

/// <summary>How a message shows the value of an option that holds no secret: as it is, unless somebody may
/// have put a secret there by mistake.</summary>
internal static class ShownValue
{
    private const string Hidden = "a value that looks like a key";

    /// <summary>Keys that people make are longer; words, and names of files without a folder, are mostly
    /// shorter.</summary>
    private const int ShortestKey = 16;

    private static readonly string[] s_beginnings = ["sk-", "whsec_", "Bearer "];

    public static string Of(string value) => MayBeKey(value) ? Hidden : value;

    /// <summary>Letters and digits without anything between that a path, an address or a sentence has.
    /// </summary>
    public static bool MayBeKey(string value)
    {
        if (Array.Exists(s_beginnings, value.StartsWith))
            return true;
        return value.Length >= ShortestKey && value.Any(char.IsAsciiDigit) && value.Any(char.IsAsciiLetter)
            && value.All(static c => char.IsAsciiLetterOrDigit(c) || c is '_' or '-' or '+' or '=');
    }
}
