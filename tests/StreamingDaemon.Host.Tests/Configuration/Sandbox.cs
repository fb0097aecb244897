using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>A directory with its own files and environment, so that no test reads the machine's.</summary>
internal sealed class Sandbox : IDisposable
{
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("streaming-daemon-");

    public Dictionary<string, string> Environment { get; } = [];

    /// <summary>What may be set.</summary>
    public OptionTable Table { get; init; } = OptionTable.BuiltIn;

    public ConfigurationSources Sources => new()
    {
        Environment = Environment,
        SearchPaths = [PathOf("streaming-daemon.toml"), PathOf("etc.toml"), PathOf("last.toml")],
        BaseDirectory = _directory.FullName,
        Table = Table,
    };

    public string PathOf(string name) => Path.Combine(_directory.FullName, name);

    public string Write(string name, string text)
    {
        File.WriteAllText(PathOf(name), text);
        return PathOf(name);
    }

    public DaemonOptions Load(params (string Key, string Value)[] cli) =>
        DaemonOptionsLoader.Load(Cli(null, cli), Sources);

    public DaemonOptions LoadToml(string text)
    {
        Write("streaming-daemon.toml", text);
        return Load();
    }

    /// <summary>The only error of a TOML file, without the directory in front.</summary>
    public string TomlError(string text) => Assert.Single(TomlErrors(text));

    public string[] TomlErrors(string text)
    {
        Write("streaming-daemon.toml", text);
        return Errors();
    }

    public string[] Errors(params (string Key, string Value)[] cli)
    {
        var refused = Assert.Throws<ConfigurationException>(() => Load(cli));
        return [.. refused.Errors.Select(error => error.Replace(_directory.FullName + "/", ""))];
    }

    public string[] ErrorsWithFile(string file)
    {
        var refused = Assert.Throws<ConfigurationException>(() => LoadFile(file));
        return [.. refused.Errors.Select(error => error.Replace(_directory.FullName + "/", ""))];
    }

    public DaemonOptions LoadFile(string file) => DaemonOptionsLoader.Load(Cli(file), Sources);

    public void Dispose() => _directory.Delete(recursive: true);

    private static CliValues Cli(string? file, params (string Key, string Value)[] settings) =>
        new(file, [.. settings.Select(s => new RawSetting(s.Key, s.Value, RawKind.Text, "--" + s.Key))]);
}
