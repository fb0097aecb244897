using StreamingDaemon.Host.Configuration.Toml;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Turns one source's settings into canonical keys and values, and reports everything wrong with them.
/// </summary>
internal sealed class SettingsReader(OptionTable table, ConfigurationErrors errors)
{
    private readonly HashSet<string> _sections =
        new(table.Sections, StringComparer.OrdinalIgnoreCase);

    /// <summary>Settings under any spelling that a file may use.</summary>
    public Dictionary<string, string?> ReadFile(IEnumerable<RawSetting> settings) =>
        Read(settings, setting =>
        {
            var spec = table.Find(setting.Key);
            if (spec is null)
                errors.Add(setting.Origin, $"unknown key; {table.Suggest(setting.Key)}");
            return spec;
        });

    /// <summary>Settings whose key is already canonical.</summary>
    public Dictionary<string, string?> ReadCanonical(IEnumerable<RawSetting> settings) =>
        Read(settings, setting => table.Find(setting.Key));

    public IDictionary<string, string?> ReadToml(TomlDocument document)
    {
        foreach (var error in document.Errors)
            errors.Add(error.Origin, error.Message);
        var strangers = new HashSet<string>(StringComparer.OrdinalIgnoreCase);
        foreach (var (name, isArray, place) in document.Tables)
        {
            var shown = table.NameToShow(name.Replace('.', ':'));
            if (isArray)
            {
                errors.Add(shown is null ? place : $"{place}: [[{shown}]]",
                    $"no option is an array of tables; write [{shown ?? "section"}]");
            }
            else if (!_sections.Contains(name) && strangers.Add(name))
            {
                errors.Add(shown is null ? place : $"{place}: [{shown}]",
                    $"unknown section; {SuggestSection(name)}");
            }
        }
        // One message for an unknown section covers each of its keys. The very same key twice is not valid
        // TOML, which is already reported.
        return ReadFile(document.Settings
            .Where(setting => !IsIn(strangers, setting.Key))
            .DistinctBy(setting => setting.Key));
    }

    private string SuggestSection(string name) =>
        Spelling.Closest(name, table.Sections) is { } closest
            ? $"did you mean [{closest}]?"
            : $"the sections are {string.Join(", ", table.Sections)}";

    private static bool IsIn(HashSet<string> sections, string key)
    {
        var colon = key.LastIndexOf(':');
        return colon > 0 && sections.Contains(key[..colon].Replace(':', '.'));
    }

    private Dictionary<string, string?> Read(
        IEnumerable<RawSetting> settings, Func<RawSetting, OptionSpec?> find)
    {
        var values = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        var first = new Dictionary<OptionSpec, RawSetting>();
        foreach (var setting in settings)
        {
            if (find(setting) is not { } spec)
                continue;
            if (!first.TryAdd(spec, setting))
            {
                errors.Add(setting.Origin, $"sets the same option as {first[spec].Origin}; keep one");
            }
            else if (spec.Check(setting, out var canonical) is { } problem)
            {
                errors.Add(setting.Origin, problem);
            }
            else
            {
                values[spec.Key] = canonical;
            }
        }
        return values;
    }
}
