using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The limit of descriptors that the daemon itself says it wants, against what operators are told.</summary>
internal static partial class Descriptors
{
    /// <summary>Fewer than any of the numbers asked for here: it then says what it wants.</summary>
    private const int Few = 500;

    public static async Task<long> WantedAsync(long connections, bool http2)
    {
        var (_, said, error) = await DaemonProcess.RunUnderAsync(
            [
                "env", "OPENAI_API_KEY=sk-of-the-test", $"OPENAI_HTTP2_ENABLED={(http2 ? "true" : "false")}",
                "prlimit", $"--nofile={Few}",
            ],
            "check", "--socket", "s", "--max-connections", $"{connections}");
        var wanted = Wanted().Match(said);
        Assert.True(wanted.Success, said + error);
        return long.Parse(wanted.Groups[1].Value, CultureInfo.InvariantCulture);
    }

    /// <summary>At least what is wanted, and not so much that the number is another's.</summary>
    public static async Task AreEnoughAsync(long told, long connections, bool http2)
    {
        var wanted = await WantedAsync(connections, http2);
        // One process has some more open than another.
        Assert.True(told >= wanted - 100 && told <= wanted + 300, $"{told} for {connections}, and it wants {wanted}");
    }

    [GeneratedRegex("LimitNOFILE=([0-9]+)")]
    private static partial Regex Wanted();
}
