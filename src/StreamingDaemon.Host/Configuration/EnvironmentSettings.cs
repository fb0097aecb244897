using System.Text.RegularExpressions;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The environment: <c>STREAMING_DAEMON_SECTION__KEY</c> for every option, and the names that other programs
/// of this trade read. Not the framework's provider: to that an empty variable is a value, where compose
/// files and unit files mean "unset", and an unknown one is nothing, where it is a slip of the hand.
/// </summary>
internal static partial class EnvironmentSettings
{
    public static List<RawSetting> Read(
        IReadOnlyDictionary<string, string> environment, OptionTable table, ConfigurationErrors errors)
    {
        var settings = new List<RawSetting>();
        foreach (var (name, value) in environment.OrderBy(pair => pair.Key, StringComparer.Ordinal))
        {
            if (table.FindVariable(name) is { } spec)
            {
                if (value.Length > 0)
                    settings.Add(new RawSetting(spec.Key, value, RawKind.Text, name));
            }
            else if (name.StartsWith(OptionSpec.EnvironmentPrefix, StringComparison.OrdinalIgnoreCase)
                && !ServiceLink().IsMatch(name))
            {
                errors.Add(name, $"unknown variable; did you mean {table.SuggestVariable(name)}?");
            }
        }
        return settings;
    }

    /// <summary>
    /// What Kubernetes puts into every container of a namespace that has a Service named streaming-daemon.
    /// </summary>
    [GeneratedRegex(
        "^STREAMING_DAEMON_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|" +
        "PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")]
    private static partial Regex ServiceLink();
}
