namespace StreamingDaemon.Host.Configuration;

/// <summary>How an option is spelled in arguments. A switch has no <paramref name="Value"/>.</summary>
internal sealed record CliName(string Long, string? Short = null, string? Value = null);

/// <summary>One option: its names in every source, its values, and its purpose.</summary>
internal abstract class OptionSpec
{
    public const string EnvironmentPrefix = "STREAMING_DAEMON_";

    /// <summary>Its key, as IConfiguration spells it: <c>server:max_connections</c>.</summary>
    public required string Key { get; init; }
    public required string Description { get; init; }

    /// <summary>Why the default is what it is, or what another value costs.</summary>
    public required string Cost { get; init; }
    public CliName? Cli { get; init; }

    /// <summary>The variable that similar programs read too.</summary>
    public string? EnvAlias { get; init; }

    /// <summary>
    /// Names that a file may also use flat or under any of <see cref="OptionTable"/>'s six sections.
    /// </summary>
    public string[] FlatNames { get; init; } = [];

    /// <summary>The backend that is the default if this option is set and <c>backend.name</c> is not; null
    /// for most.</summary>
    public string? ChosenBackend { get; init; }

    /// <summary>False if what the option belongs to does not exist; null if it always does.</summary>
    public Func<DaemonOptions, bool>? Exists { get; init; }

    /// <summary>Whether what the option belongs to exists.</summary>
    public bool IsIn(DaemonOptions options) => Exists is null || Exists(options);

    /// <summary>True if a running daemon applies a new value on SIGHUP; for other options it reports that a
    /// restart is needed.</summary>
    public bool Reloadable { get; init; }

    /// <summary>True if it says where the secrets of its section are used, and needs a restart: until then, a
    /// new secret waits too (<see cref="IsSecret"/>). The old address must neither see it nor be served with
    /// it.</summary>
    public bool IsAddress { get; init; }

    /// <summary>True if it is a secret, or names the file of one.</summary>
    public bool IsSecret { get; init; }

    public string Section => Key[..Key.IndexOf(':')];
    public string Name => Key[(Key.IndexOf(':') + 1)..];
    public string DottedKey => Key.Replace(':', '.');

    /// <summary>Its names as a message says them: <c>openai.model (OPENAI_MODEL)</c>.</summary>
    public string Names => EnvAlias is null ? DottedKey : $"{DottedKey} ({EnvAlias})";

    public string EnvName =>
        EnvironmentPrefix + Key.Replace(":", "__", StringComparison.Ordinal).ToUpperInvariant();

    public abstract string Expected { get; }
    public abstract string Range { get; }

    /// <summary>The value of this option in <paramref name="options"/>, as TOML spells it.</summary>
    public abstract string ToToml(DaemonOptions options);

    /// <summary>The value of this option in <paramref name="options"/>, as a person reads it.</summary>
    public abstract string ToHelp(DaemonOptions options);

    /// <summary>Null and the canonical text, or what is wrong and what would be right.</summary>
    public abstract string? Check(RawSetting raw, out string canonical);

    /// <summary>A copy of <paramref name="options"/> with this one set from its canonical text.</summary>
    public abstract DaemonOptions Apply(DaemonOptions options, string canonical);

    /// <summary>Whether the two differ in this option. A backend that only one of them has counts as a
    /// difference.</summary>
    public abstract bool Differs(DaemonOptions one, DaemonOptions other);

    /// <summary>A copy of <paramref name="to"/> with this option from <paramref name="from"/>.</summary>
    public abstract DaemonOptions Carry(DaemonOptions from, DaemonOptions to);
}

/// <inheritdoc/>
internal sealed class OptionSpec<T>(
    OptionType<T> type,
    Func<DaemonOptions, T> get,
    Func<DaemonOptions, T, DaemonOptions> set) : OptionSpec
{
    public override string Expected => type.Expected;
    public override string Range => type.Range;

    public override string ToToml(DaemonOptions options) => type.ToToml(get(options));

    public override string ToHelp(DaemonOptions options) => type.ToHelp(get(options));

    public override string? Check(RawSetting raw, out string canonical)
    {
        canonical = "";
        if (type.Read(raw, out var value) is { } problem)
            return $"{problem}; expected {type.Expected}";
        canonical = type.Format(value);
        return null;
    }

    public override bool Differs(DaemonOptions one, DaemonOptions other) =>
        !EqualityComparer<T>.Default.Equals(Value(one), Value(other));

    public override DaemonOptions Carry(DaemonOptions from, DaemonOptions to) => set(to, get(from));

    private T? Value(DaemonOptions options) => IsIn(options) ? get(options) : default;

    public override DaemonOptions Apply(DaemonOptions options, string canonical)
    {
        var raw = new RawSetting(Key, canonical, RawKind.Text, Key);
        return type.Read(raw, out var value) is { } problem
            ? throw new InvalidOperationException($"{Key}: {problem}, after it was checked")
            : set(options, value);
    }
}
