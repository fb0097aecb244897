using System.Text.RegularExpressions;

namespace StreamingDaemon.VmTests;

/// <summary>HTTPS that ends in Apache, handed over: the claims of guest/tls.py, a test each.</summary>
[Collection(OneAtATime)]
public sealed partial class TlsTests
{
    /// <summary>Two machines at once would only slow each other down.</summary>
    internal const string OneAtATime = "one machine at a time";

    /// <summary>The names of the claims, in the order in which they run.</summary>
    public static TheoryData<string> Claims =>
        [.. Claim().Matches(File.ReadAllText(Path.Combine(VirtualMachine.Directory, "guest", "tls.py")))
            .Select(match => match.Groups[1].Value)];

    [Theory]
    [MemberData(nameof(Claims))]
    public async Task Tls(string claim)
    {
        VirtualMachine.SkipWithoutQemu();

        (await VirtualMachine.Tls).AssertPassed(claim);
    }

    [GeneratedRegex(@"@case\ndef (\w+)\(")]
    private static partial Regex Claim();
}
