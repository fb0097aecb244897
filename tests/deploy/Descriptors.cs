using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The descriptor limit that the daemon itself asks for, against what operators are told.</summary>
internal static partial class Descriptors
{
    /// <summary>Fewer than any number tested here: the daemon then reports what it needs.</summary>
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

    /// <summary>At least what is needed, and not so much that the number belongs to something else.</summary>
    public static async Task AreEnoughAsync(long told, long connections, bool http2)
    {
        var wanted = await WantedAsync(connections, http2);
        // Some processes have a few more open than others.
        Assert.True(told >= wanted - 100 && told <= wanted + 300, $"{told} for {connections}, and it wants {wanted}");
    }

    [GeneratedRegex("LimitNOFILE=([0-9]+)")]
    private static partial Regex Wanted();
}
