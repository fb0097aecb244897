using System.Globalization;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Testing;

/// <summary>A container engine's seccomp profile, as tests/deploy/seccomp-profile.c reads it.</summary>
public static class SeccompRules
{
    private const ulong WholeArgument = ulong.MaxValue;

    /// <summary>The errno of what no rule allows, then a line a rule.</summary>
    /// <param name="profile">The profile's JSON.</param>
    /// <param name="without">Calls that are left out.</param>
    public static string Text(JsonElement profile, params string[] without)
    {
        Require("SCMP_ACT_ERRNO", profile.GetProperty("defaultAction"));
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{profile.GetProperty("defaultErrnoRet").GetInt32()}\n");
        foreach (var (name, arguments) in Of(profile).Where(rule => !without.Contains(rule.Name)))
        {
            text.Append(CultureInfo.InvariantCulture, $"{name} {arguments.Length}");
            foreach (var (index, mask, value) in arguments)
                text.Append(CultureInfo.InvariantCulture, $" {index} {mask} {value}");
            text.Append('\n');
        }

        return text.ToString();
    }

    /// <summary>The calls that a profile allows, and under which arguments.</summary>
    public static IEnumerable<(string Name, (int Index, ulong Mask, ulong Value)[] Arguments)> Of(JsonElement profile)
    {
        foreach (var entry in profile.GetProperty("syscalls").EnumerateArray())
        {
            // What all other calls are answered too, said once more for engines that do not read it there.
            if (entry.TryGetProperty("errnoRet", out var errno)
                && errno.GetInt32() == profile.GetProperty("defaultErrnoRet").GetInt32())
            {
                Require("SCMP_ACT_ERRNO", entry.GetProperty("action"));
                continue;
            }

            Require("SCMP_ACT_ALLOW", entry.GetProperty("action"));
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

    private static void Require(string action, JsonElement given)
    {
        if (given.GetString() != action)
            throw new InvalidOperationException($"{given} is not known to these tests: they expect {action}");
    }
}
