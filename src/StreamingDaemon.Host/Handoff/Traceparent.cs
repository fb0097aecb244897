using System.Buffers;

namespace StreamingDaemon.Host.Handoff;

/// <summary>The header <c>traceparent</c> of W3C's Trace Context: version, trace, span and flags, in
/// lower-case hexadecimal.</summary>
internal static class Traceparent
{
    private const int Length = 55;

    private static readonly SearchValues<char> s_digits = SearchValues.Create("0123456789abcdef");

    /// <summary>True for version 00, and for a later one that has no further parts.</summary>
    public static bool IsValid(ReadOnlySpan<char> text) =>
        text.Length == Length && text[2] == '-' && text[35] == '-' && text[52] == '-'
        && IsHex(text[..2]) && text is not ['f', 'f', ..] && IsId(text[3..35]) && IsId(text[36..52])
        && IsHex(text[53..]);

    /// <summary>All zeros is no id.</summary>
    private static bool IsId(ReadOnlySpan<char> text) => IsHex(text) && text.ContainsAnyExcept('0');

    private static bool IsHex(ReadOnlySpan<char> text) => !text.ContainsAnyExcept(s_digits);
}
