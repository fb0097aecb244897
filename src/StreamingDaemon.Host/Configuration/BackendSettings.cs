using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Configuration;

/// <summary>One kind of backend and its options.</summary>
internal sealed record BackendSetting(BackendDescriptor Kind, object Options)
{
    /// <summary>The backend's options are valid, so it is made.</summary>
    public bool IsConfigured => Kind.Validate(Options) is null;
}

/// <summary>The options of every kind of backend. Immutable; equal if all the options are.</summary>
internal sealed class BackendSettings : IEquatable<BackendSettings>
{
    private readonly BackendSetting[] _settings;

    private BackendSettings(IEnumerable<BackendSetting> settings) => _settings = [.. settings];

    /// <summary>The kinds with their defaults.</summary>
    public static BackendSettings DefaultsOf(IEnumerable<BackendDescriptor> kinds) =>
        new(kinds.Select(kind => new BackendSetting(kind, kind.Defaults)));

    public IEnumerable<BackendDescriptor> Kinds => _settings.Select(setting => setting.Kind);

    /// <summary>The backends that can be made.</summary>
    public IEnumerable<BackendSetting> Configured => _settings.Where(setting => setting.IsConfigured);

    /// <summary>The setting of that kind.</summary>
    public BackendSetting Of(string name) => _settings.Single(setting => setting.Kind.Name == name);

    /// <summary>A copy in which one kind has other options.</summary>
    public BackendSettings With(string name, object options) => new(_settings.Select(setting =>
        setting.Kind.Name == name ? setting with { Options = options } : setting));

    public bool Equals(BackendSettings? other) =>
        other is not null && _settings.AsSpan().SequenceEqual(other._settings);

    public override bool Equals(object? obj) => Equals(obj as BackendSettings);

    public override int GetHashCode() => _settings.Length;
}
