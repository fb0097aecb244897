using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Configuration;

/// <summary>The options from the backends' descriptors.</summary>
internal sealed partial class OptionTable
{
    private static OptionSpec<string> Backend(IReadOnlyList<BackendDescriptor> kinds) => new(
        new ChoiceType<string>([.. kinds.Select(kind => (kind.Name, kind.Name))]),
        o => o.Backend.Name, (o, v) => o with { Backend = o.Backend with { Name = v } })
    {
        Key = "backend:name",
        Cli = new("--backend", null, "NAME"),
        Description = "What answers",
        Cost = string.Join(' ', kinds.Select(kind => kind.Summary)),
    };

    private static IEnumerable<OptionSpec> OptionsOf(BackendDescriptor kind) => kind.Options
        .Select<BackendOption, OptionSpec>(option => option switch
        {
            BackendOption<int> { Value: IntegerValue value } integer =>
                Spec(kind, integer, new IntType(value.Min, value.Max)),
            BackendOption<bool> @switch => Spec(kind, @switch, new BoolType()),
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
            Reloadable = option.Reloadable,
            Cli = option.CommandLine is { } cli ? new(cli.LongName, cli.ShortName, cli.ValueName) : null,
            FlatNames = [.. option.FlatNames],
            Description = option.Description,
            Cost = option.Cost,
        };
}
