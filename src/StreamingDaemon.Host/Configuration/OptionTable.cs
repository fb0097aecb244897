using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Configuration;

/// <summary>
/// Every option, once. The accepted names in files, environment and command line, the binding, <c>--help</c>
/// and the reference pages all come from here.
/// </summary>
internal sealed partial class OptionTable
{
    /// <summary>
    /// Sections under which the daemon in C finds its keys. It ignores the headers, so one of its keys may
    /// stand under any of them, or under none.
    /// </summary>
    private static readonly string[] s_flatSections =
        ["server", "timeouts", "streaming", "thread_pool", "performance", "monitoring"];

    private readonly Dictionary<string, OptionSpec> _bySpelling;

    private readonly Dictionary<string, OptionSpec> _byVariable;

    /// <summary>Every section name and every option name.</summary>
    private readonly HashSet<string> _words;

    /// <param name="backends">Each has a section of its own.</param>
    /// <exception cref="ArgumentException">Two options, or two backends, share a name.</exception>
    public OptionTable(IReadOnlyList<BackendDescriptor> backends)
    {
        All =
        [
            .. Server, Backend(backends), .. Streaming, .. Timeouts, .. Answers, .. Delivery, .. RateLimit,
            .. ThreadPool,
            .. Performance, .. Monitoring, .. Logging, .. backends.SelectMany(OptionsOf),
        ];
        Sections = [.. All.Select(spec => spec.Section).Distinct()];
        Defaults = new DaemonOptions { Backends = BackendSettings.DefaultsOf(backends) };
        _bySpelling = Spellings();
        _byVariable = Variables();
        _words = new([.. Sections, .. All.SelectMany(spec => spec.FlatNames.Append(spec.Name))],
            StringComparer.OrdinalIgnoreCase);
    }

    /// <summary>With the backends that the daemon has.</summary>
    public static OptionTable BuiltIn { get; } = new(BackendDescriptors.BuiltIn);

    /// <summary>In the order of the sections in <see cref="DaemonOptions"/>.</summary>
    public IReadOnlyList<OptionSpec> All { get; }

    public IReadOnlyList<string> Sections { get; }

    /// <summary>The options before binding.</summary>
    public DaemonOptions Defaults { get; }

    /// <summary>The option that <paramref name="key"/> means in a file.</summary>
    public OptionSpec? Find(string key) => _bySpelling.GetValueOrDefault(key);

    /// <summary>The option that an environment variable sets.</summary>
    public OptionSpec? FindVariable(string name) => _byVariable.GetValueOrDefault(name);

    /// <summary>The key as a message may show it: an option's key, or a misspelt one. Null for any other: it
    /// may be a secret in the wrong place, as in <c>"sk-…" = 1</c>.</summary>
    public string? NameToShow(string key)
    {
        var segments = key.Split(':', 4);
        var isOurs = segments.Length < 4 && segments.All(IsWordOfOurs);
        return isOurs ? key.Replace(':', '.') : null;
    }

    /// <summary>The start of a message about a setting of a file, with the key if it may be shown.</summary>
    public string OriginOf(string place, string key) =>
        NameToShow(key) is { } name ? $"{place}: {name}" : place;

    private bool IsWordOfOurs(string word) =>
        _words.Contains(word) || _words.Any(known => Spelling.IsSlip(word, known));

    /// <summary>A suggestion for a key that no option has.</summary>
    public string Suggest(string key)
    {
        var colon = key.IndexOf(':');
        var name = key[(colon + 1)..];
        var meant = Spelling.Closest(key, _bySpelling.Keys) is { } closest
            ? _bySpelling[closest]
            : All.FirstOrDefault(spec => spec.Name.Equals(name, StringComparison.OrdinalIgnoreCase))
                ?? All.FirstOrDefault(spec => Spelling.Closest(name, [spec.Name]) is not null);
        if (meant is not null)
            return $"did you mean {meant.DottedKey}?";
        var section = colon < 0 ? "" : key[..colon];
        var siblings = All.Where(spec => spec.Section == section).Select(spec => spec.Name).ToList();
        return siblings.Count == 0
            ? $"the sections are {string.Join(", ", Sections)}"
            : $"[{section}] takes {string.Join(", ", siblings)}";
    }

    /// <summary>A suggestion for a variable that nothing reads.</summary>
    public string SuggestVariable(string name) =>
        Spelling.Closest(name, _byVariable.Keys)
        ?? All.FirstOrDefault(spec => EndsLike(name, spec))?.EnvName
        ?? OptionSpec.EnvironmentPrefix + "SECTION__KEY, for example " + All[0].EnvName;

    /// <summary>The section was left out, the likeliest mistake.</summary>
    private static bool EndsLike(string name, OptionSpec spec)
    {
        var key = name[OptionSpec.EnvironmentPrefix.Length..];
        return spec.FlatNames.Append(spec.Name)
            .Any(known => known.Equals(key, StringComparison.OrdinalIgnoreCase));
    }

    private Dictionary<string, OptionSpec> Spellings()
    {
        var spellings = new Dictionary<string, OptionSpec>(StringComparer.OrdinalIgnoreCase);
        foreach (var spec in All)
        {
            spellings.Add(spec.Key, spec);
            foreach (var name in spec.FlatNames)
            {
                spellings.Add(name, spec);
                foreach (var section in s_flatSections)
                    spellings.TryAdd($"{section}:{name}", spec);
            }
        }
        return spellings;
    }

    private Dictionary<string, OptionSpec> Variables()
    {
        var variables = new Dictionary<string, OptionSpec>(StringComparer.OrdinalIgnoreCase);
        foreach (var spec in All)
        {
            variables.Add(spec.EnvName, spec);
            if (spec.EnvAlias is not null)
                variables.Add(spec.EnvAlias, spec);
        }
        return variables;
    }
}
