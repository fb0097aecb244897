using System.Text;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.FileProviders;
using Microsoft.Extensions.FileProviders.Physical;

namespace StreamingDaemon.Host.Configuration.Toml;

/// <summary>
/// TOML as a configuration source. The shape is that of Tomlyn.Extensions.Configuration, which maps through
/// reflection and so cannot be compiled ahead of time.
/// </summary>
internal static class TomlConfigurationExtensions
{
    public static IConfigurationBuilder AddTomlFile(
        this IConfigurationBuilder builder,
        string path,
        bool optional = false,
        bool reloadOnChange = false) =>
        builder.AddTomlFile(path, optional, reloadOnChange, select: null);

    /// <param name="builder">Gains the file as its next layer.</param>
    /// <param name="path">The file; relative is relative to the builder's base path.</param>
    /// <param name="optional">A missing file is an empty one.</param>
    /// <param name="reloadOnChange">Read again whenever the file changes.</param>
    /// <param name="select">
    /// What of the document goes into the configuration, and under which keys; without one all of it does.
    /// </param>
    public static IConfigurationBuilder AddTomlFile(
        this IConfigurationBuilder builder,
        string path,
        bool optional,
        bool reloadOnChange,
        Func<TomlDocument, IDictionary<string, string?>>? select)
    {
        var source = new TomlConfigurationSource
        {
            Path = path,
            Optional = optional,
            ReloadOnChange = reloadOnChange,
            Select = select,
        };
        var directory = Path.GetDirectoryName(path);
        if (Path.IsPathRooted(path) && Directory.Exists(directory))
        {
            // The provider that would be chosen otherwise does not see files whose name begins with a dot.
            source.FileProvider = new PhysicalFileProvider(directory, ExclusionFilters.None);
            source.Path = Path.GetFileName(path);
        }
        return builder.Add(source);
    }
}

/// <inheritdoc/>
internal sealed class TomlConfigurationSource : FileConfigurationSource
{
    public Func<TomlDocument, IDictionary<string, string?>>? Select { get; init; }

    public override IConfigurationProvider Build(IConfigurationBuilder builder)
    {
        EnsureDefaults(builder);
        return new TomlConfigurationProvider(this);
    }
}

/// <inheritdoc/>
internal sealed class TomlConfigurationProvider(TomlConfigurationSource source)
    : FileConfigurationProvider(source)
{
    public override void Load(Stream stream)
    {
        // Strict: a path with a character that stands for an unreadable one would be another path. And no
        // other encoding is guessed from the first bytes: TOML is UTF-8.
        using var reader = new StreamReader(stream, new UTF8Encoding(false, throwOnInvalidBytes: true),
            detectEncodingFromByteOrderMarks: false);
        var file = Source.FileProvider?.GetFileInfo(Source.Path ?? "").PhysicalPath ?? Source.Path ?? "";
        var document = TomlDocument.Parse(reader.ReadToEnd().TrimStart('\ufeff'), file);
        Data = source.Select is { } select ? select(document) : Everything(document);
    }

    private static Dictionary<string, string?> Everything(TomlDocument document)
    {
        if (document.Errors.Count > 0)
        {
            throw new FormatException(string.Join(
                Environment.NewLine, document.Errors.Select(error => $"{error.Origin}: {error.Message}")));
        }
        var data = new Dictionary<string, string?>(StringComparer.OrdinalIgnoreCase);
        foreach (var setting in document.Settings)
            data[setting.Key] = setting.Kind == RawKind.Integer ? $"{setting.Number}" : setting.Text;
        return data;
    }
}
