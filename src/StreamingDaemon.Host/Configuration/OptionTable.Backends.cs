using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Configuration;

/// <summary>The options from the backends' descriptors.</summary>
internal sealed partial class OptionTable
{
    /// <summary>Key of the option that names the default backend.</summary>
    public const string BackendKey = "backend:name";

    private static OptionSpec<string> Backend(IReadOnlyList<BackendDescriptor> kinds) => new(
        new ChoiceType<string>([.. kinds.Select(kind => (kind.Name, kind.Name))]),
        o => o.Backend.Name, (o, v) => o with { Backend = o.Backend with { Name = v } })
    {
        Key = BackendKey,
        Cli = new("--backend", null, "NAME"),
        Description = "Backend that answers",
        Cost = string.Join(' ', [.. kinds.Select(kind => kind.Summary), .. kinds.SelectMany(Choice)]),
    };

    /// <summary>The options that choose a backend if no option names one.</summary>
    private static IEnumerable<string> Choice(BackendDescriptor kind)
    {
        var names = kind.Options.Where(option => option.ChoosesBackend)
            .Select(option => $"{kind.Name}.{option.Name}").ToList();
        if (names.Count > 0)
            yield return $"Unless set, it is {kind.Name} if one of these is set: {string.Join(", ", names)}.";
    }

    private static IEnumerable<OptionSpec> OptionsOf(BackendDescriptor kind) => kind.Options
        .Select<BackendOption, OptionSpec>(option => option switch
        {
            BackendOption<int> { Value: IntegerValue value } integer =>
                Spec(kind, integer, new IntType(value.Min, value.Max)),
            BackendOption<bool> @switch => Spec(kind, @switch, new BoolType()),
            BackendOption<bool?> @switch => Spec(kind, @switch, new AutoBoolType()),
            BackendOption<Uri> url => Spec(kind, url, new UrlType()),
            BackendOption<string> { Value: SecretValue } secret =>
                Spec(kind, secret, new SecretType()),
            BackendOption<string> { Value: ChoiceValue value } choice =>
                Spec(kind, choice, new ChoiceType<string>([.. value.Words.Select(word => (word, word))])),
            BackendOption<string?> { Value: SecretFileValue } file =>
                Spec<string?>(kind, file!, new FilePathType()),
            BackendOption<string> { Value: NameValue value } name =>
                Spec(kind, name, new NameType(value.What)),
            BackendOption<string?> { Value: SocketPathValue } path =>
                Spec<string?>(kind, path!, new SocketPathType(required: false)),
            BackendOption<string?> { Value: FilePathValue } path =>
                Spec<string?>(kind, path!, new FilePathType()),
            _ => throw new NotSupportedException(
                $"{kind.Name}:{option.Name} takes values of an unknown type"),
        });

    private static OptionSpec<T> Spec<T>(
        BackendDescriptor kind, BackendOption<T> option, OptionType<T> type) =>
        new(
            type,
            o => option.Get(o.Backends.Of(kind.Name).Options),
            (o, v) => o with
            {
                Backends = o.Backends.With(kind.Name, option.Set(o.Backends.Of(kind.Name).Options, v)),
            })
        {
            Key = $"{kind.Name}:{option.Name}",
            Exists = o => o.Backends.Of(kind.Name).IsConfigured,
            EnvAlias = option.Variable,
            ChosenBackend = option.ChoosesBackend ? kind.Name : null,
            Reloadable = option.Reloadable,
            IsAddress = option is BackendOption<Uri> or BackendOption<string> { Value: SocketPathValue },
            IsSecret = option is BackendOption<string> { Value: SecretValue or SecretFileValue },
            Cli = option.CommandLine is { } cli ? new(cli.LongName, cli.ShortName, cli.ValueName) : null,
            FlatNames = [.. option.FlatNames],
            Description = option.Description,
            Cost = option.Cost,
        };
}
