using Microsoft.Extensions.Configuration;

namespace StreamingDaemon.Host.Configuration.Toml;

/// <summary>
/// TOML as a configuration source. The shape is that of Tomlyn.Extensions.Configuration, which maps by
/// reflection and so cannot be compiled ahead of time.
/// </summary>
internal static class TomlConfigurationExtensions
{
    /// <param name="builder">Receives the file as its next layer.</param>
    /// <param name="path">The file.</param>
    /// <param name="optional">A missing file is an empty one.</param>
    /// <param name="select">
    /// Which part of the document goes into the configuration, and under which keys; without it, everything.
    /// </param>
    /// <param name="table">An error may show this table's names; null is the built-in table.</param>
    public static IConfigurationBuilder AddTomlFile(this IConfigurationBuilder builder, string path,
        bool optional = false, Func<TomlDocument, IDictionary<string, string?>>? select = null,
        OptionTable? table = null) =>
        builder.Add(new TomlConfigurationSource(path, optional, select, table));
}

/// <summary>Reads by <see cref="RegularFile"/>: the framework's own sources open any kind of file, and wait
/// for it.</summary>
internal sealed class TomlConfigurationSource(
    string path, bool optional, Func<TomlDocument, IDictionary<string, string?>>? select,
    OptionTable? table)
    : ConfigurationProvider, IConfigurationSource
{
    public IConfigurationProvider Build(IConfigurationBuilder builder) => this;

    public override void Load()
    {
        if (optional && !RegularFile.Exists(path))
            return;
        var document = TomlDocument.Read(path, table);
        Data = select is null ? Everything(document) : select(document);
    }

    private static Dictionary<string, string?> Everything(TomlDocument document)
    {
        if (document.Errors.Count > 0)
        {
            throw new InvalidDataException(string.Join(
                Environment.NewLine, document.Errors.Select(error => $"{error.Origin}: {error.Message}")));
        }

        var data = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach (var setting in document.Settings)
            data[setting.Key] = setting.Kind == RawKind.Integer ? $"{setting.Number}" : setting.Text;
        return data;
    }
}
