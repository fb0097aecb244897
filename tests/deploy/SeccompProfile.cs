using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>deploy/seccomp/streaming-daemon.json, and a program that runs others under it.</summary>
internal static class SeccompProfile
{
    public static string Path { get; } = Tool.InRepository("deploy", "seccomp", "streaming-daemon.json");

    /// <summary>Names of all calls that some rule allows.</summary>
    public static IReadOnlySet<string> Names(JsonElement profile) =>
        SeccompRules.Of(profile).Select(rule => rule.Name).ToHashSet();

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
        await File.WriteAllTextAsync(rules, SeccompRules.Text(Read(), without));
        var script = directory.File("under-the-profile");
        await File.WriteAllTextAsync(script, $"#!/bin/sh\nexec '{loader}' '{rules}' '{program}' \"$@\"\n");
        File.SetUnixFileMode(script, (UnixFileMode)0b111_101_101);
        return script;
    }
}
