using System.Text.RegularExpressions;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// The environment: <c>STREAMING_DAEMON_SECTION__KEY</c> for every option, and the names that similar
/// programs read. Not the framework's provider: that one takes an empty variable for a value, but compose
/// files and unit files mean "unset". It also ignores an unknown variable, which is a typo.
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
    /// Variables that Kubernetes sets in every container of a namespace with a Service named
    /// streaming-daemon.
    /// </summary>
    [GeneratedRegex(
        "^STREAMING_DAEMON_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|" +
        "PORT(_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")]
    private static partial Regex ServiceLink();
}
