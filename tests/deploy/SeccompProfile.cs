using System.Globalization;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>deploy/seccomp/streaming-daemon.json, and a program that runs others under it.</summary>
internal static class SeccompProfile
{
    private const ulong WholeArgument = ulong.MaxValue;

    public static string Path { get; } = Tool.InRepository("deploy", "seccomp", "streaming-daemon.json");

    /// <summary>Names of all calls that some rule allows.</summary>
    public static IReadOnlySet<string> Names(JsonElement profile) =>
        Rules(profile).Select(rule => rule.Name).ToHashSet();

    public static JsonElement Read()
    {
        using var document = JsonDocument.Parse(File.ReadAllText(Path));
        return document.RootElement.Clone();
    }

    /// <summary>
    /// A script that runs its arguments under the profile, without some calls. It is used in place of a
    /// program.
    /// </summary>
    public static async Task<string> WrapperAsync(TempDirectory directory, string program, params string[] without)
    {
        var loader = await Tool.CompileAsync(directory, "seccomp-profile", "-lseccomp");
        var rules = directory.File("rules");
        await File.WriteAllTextAsync(rules, RulesText(Read(), without));
        var script = directory.File("under-the-profile");
        await File.WriteAllTextAsync(script, $"#!/bin/sh\nexec '{loader}' '{rules}' '{program}' \"$@\"\n");
        File.SetUnixFileMode(script, (UnixFileMode)0b111_101_101);
        return script;
    }

    private static string RulesText(JsonElement profile, string[] without)
    {
        Assert.Equal("SCMP_ACT_ERRNO", profile.GetProperty("defaultAction").GetString());
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{profile.GetProperty("defaultErrnoRet").GetInt32()}\n");
        foreach (var (name, arguments) in Rules(profile).Where(rule => !without.Contains(rule.Name)))
        {
            text.Append(CultureInfo.InvariantCulture, $"{name} {arguments.Length}");
            foreach (var (index, mask, value) in arguments)
                text.Append(CultureInfo.InvariantCulture, $" {index} {mask} {value}");
            text.Append('\n');
        }

        return text.ToString();
    }

    private static IEnumerable<(string Name, (int, ulong, ulong)[] Arguments)> Rules(JsonElement profile)
    {
        foreach (var entry in profile.GetProperty("syscalls").EnumerateArray())
        {
            Assert.Equal("SCMP_ACT_ALLOW", entry.GetProperty("action").GetString());
            var arguments = entry.TryGetProperty("args", out var given)
                ? given.EnumerateArray().Select(Argument).ToArray() : [];
            foreach (var name in entry.GetProperty("names").EnumerateArray())
                yield return (name.GetString()!, arguments);
        }
    }

    /// <summary>An argument in the engines' format: with two values, the first is the mask.</summary>
    private static (int Index, ulong Mask, ulong Value) Argument(JsonElement argument)
    {
        var index = argument.GetProperty("index").GetInt32();
        var value = argument.GetProperty("value").GetUInt64();
        return argument.GetProperty("op").GetString() switch
        {
            "SCMP_CMP_EQ" => (index, WholeArgument, value),
            "SCMP_CMP_MASKED_EQ" => (index, value, argument.GetProperty("valueTwo").GetUInt64()),
            var other => throw new InvalidOperationException($"{other} is not known to these tests"),
        };
    }
}
