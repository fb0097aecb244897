using Microsoft.Extensions.Configuration;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration.Toml;

namespace StreamingDaemon.Host.Configuration;

/// <summary>The configuration from the command line.</summary>
internal sealed record CliValues(string? ConfigFile, IReadOnlyList<RawSetting> Settings)
{
    public static CliValues None { get; } = new(null, []);
}

/// <summary>Where to find the other sources. A process has one; a test makes its own.</summary>
internal sealed record ConfigurationSources
{
    public required IReadOnlyDictionary<string, string> Environment { get; init; }

    /// <summary>If no file is named, the first of these that exists is read.</summary>
    public required IReadOnlyList<string> SearchPaths { get; init; }

    /// <summary>The directory of appsettings.json.</summary>
    public required string BaseDirectory { get; init; }

    /// <summary>What the sources may set.</summary>
    public OptionTable Table { get; init; } = OptionTable.BuiltIn;

    public static ConfigurationSources OfProcess() => new()
    {
        Environment = System.Environment.GetEnvironmentVariables()
            .Cast<System.Collections.DictionaryEntry>()
            .ToDictionary(entry => (string)entry.Key, entry => (string?)entry.Value ?? ""),
        SearchPaths =
        [
            Path.GetFullPath("streaming-daemon.toml"),
            "/etc/streaming-daemon/config.toml",
            "/etc/streaming-daemon.toml",
        ],
        BaseDirectory = AppContext.BaseDirectory,
    };
}

/// <summary>Command line over environment over TOML over appsettings.json over defaults.</summary>
internal static class DaemonOptionsLoader
{
    /// <summary>Reads all sources in this thread, which may hang in it: see
    /// <see cref="ConfigurationRead"/>.</summary>
    /// <param name="cli">The command line.</param>
    /// <param name="sources">The other sources.</param>
    /// <param name="withSecrets">False to read no key, and to check nothing that needs one.</param>
    /// <exception cref="ConfigurationException">Anything is wrong; the message holds all of it.</exception>
    public static DaemonOptions Load(
        CliValues cli, ConfigurationSources sources, bool withSecrets = true)
    {
        var errors = new ConfigurationErrors();
        var reader = new SettingsReader(sources.Table, errors);
        var builder = new ConfigurationBuilder();

        var appSettings = Path.Combine(sources.BaseDirectory, AppSettings.FileName);
        if (RegularFile.Exists(appSettings))
        {
            builder.AddInMemoryCollection(
                reader.ReadFile(AppSettings.Read(appSettings, sources.Table, errors)));
        }

        var file = FindFile(cli.ConfigFile, sources.SearchPaths, errors);
        if (file is not null)
            builder.AddTomlFile(file, optional: false, reader.ReadToml, sources.Table);
        var environment = EnvironmentSettings.Read(sources.Environment, sources.Table, errors);
        builder.AddInMemoryCollection(reader.ReadCanonical(environment));
        builder.AddInMemoryCollection(reader.ReadCanonical(cli.Settings));

        var configuration = builder.Build();
        errors.ThrowIfAny();
        var options = Bind(configuration, sources.Table);
        if (!withSecrets)
            return options;
        options = SecretFile.Fill(options, sources.Table, errors);
        options = BackendFiles.Fill(options, sources.Table, errors);
        options = WebhookSecret.Fill(options, errors);
        errors.ThrowIfAny();
        options = WithLimits(options) with { ConfigFile = file };
        CheckTogether(options, errors);
        errors.ThrowIfAny();
        return options;
    }

    private static string? FindFile(
        string? named, IReadOnlyList<string> searchPaths, ConfigurationErrors errors)
    {
        // Of any kind: a directory, as a bind mount of a missing file makes one, is not an absent file.
        if (named is null)
            return searchPaths.FirstOrDefault(RegularFile.Exists);
        var isDirectory = RegularFile.IsDirectory(named);
        if (!isDirectory && RegularFile.Exists(named))
            return Path.GetFullPath(named);
        errors.Add("--config", named.Length == 0
            ? "the path is empty; expected a TOML file"
            : isDirectory ? $"{named} is a directory; expected a TOML file"
            : $"{named} does not exist or cannot be reached; expected a TOML file");
        return null;
    }

    /// <summary>
    /// Each option that any layer sets, from the topmost layer that sets it; every value was checked before.
    /// </summary>
    private static DaemonOptions Bind(IConfigurationRoot configuration, OptionTable table)
    {
        var options = table.Defaults;
        foreach (var spec in table.All)
        {
            if (configuration[spec.Key] is { } canonical)
                options = spec.Apply(options, canonical);
        }

        return configuration[OptionTable.BackendKey] is null
            ? WithChosenBackend(options, configuration, table)
            : options;
    }

    /// <summary>Nothing names a backend: whoever sets the address or the key of one wants it.</summary>
    private static DaemonOptions WithChosenBackend(
        DaemonOptions options, IConfigurationRoot configuration, OptionTable table)
    {
        var chooser = table.All.FirstOrDefault(
            spec => spec.ChosenBackend is not null && configuration[spec.Key] is { Length: > 0 });
        return chooser is null ? options : options with
        {
            Backend = new BackendOptions { Name = chooser.ChosenBackend! },
            BackendChosenBy = chooser.Names,
        };
    }

    private static DaemonOptions WithLimits(DaemonOptions options)
    {
        var limits = new BackendLimits(options.Timeouts.ConnectTimeoutMs, options.Streaming.MaxEventBytes);
        foreach (var (kind, settings) in options.Backends.Configured)
        {
            var limited = kind.WithLimits(settings, limits);
            options = options with { Backends = options.Backends.With(kind.Name, limited) };
        }

        return options;
    }

    /// <summary>Reads a file of authorities, to report what is wrong with it. It is read again for each
    /// connection, but only this thread can be given up if the file's server does not answer.</summary>
    private static void CheckAuthorities(string option, string? path, ConfigurationErrors errors)
    {
        if (path is not null && RegularFile.TryRead(path, out _) is { } problem)
            errors.Add(option, $"{ShownValue.Of(path)}: {problem}");
    }

    private static void CheckTogether(DaemonOptions options, ConfigurationErrors errors)
    {
        if (options.Answers is { Store: AnswerStoreKind.Redis, RedisPasswordFile: { } file }
            && SecretFile.TryRead(file, out _) is { } unreadable)
        {
            errors.Add("answers.redis_password_file", $"{ShownValue.Of(file)}: {unreadable}");
        }

        if (options.Answers is { Store: AnswerStoreKind.Redis, RedisTls: true })
            CheckAuthorities("answers.redis_ca_file", options.Answers.RedisCaFile, errors);
        if (options.Delivery.Url is not null)
        {
            CheckAuthorities("delivery.ca_file", options.Delivery.CaFile, errors);
            // Only to see that its file system answers.
            _ = RegularFile.Exists(options.Delivery.SpoolDir);
        }

        var (kind, settings) = options.Backends.Of(options.Backend.Name);
        if (kind.Validate(settings) is { } problem)
        {
            var why = options.BackendChosenBy is { } option ? $", because {option} is set" : "";
            errors.Add($"backend {kind.Name}{why}", problem);
        }
    }
}
