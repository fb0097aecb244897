namespace StreamingDaemon.DeployTests;

/// <summary>A unit file of systemd's: assignments in order, comments and sections dropped.</summary>
internal sealed class UnitFile(string path)
{
    private readonly (string Key, string Value)[] _settings =
    [
        .. from line in File.ReadLines(path)
           where line.Length > 0 && line[0] is not ('#' or '[')
           let separator = line.IndexOf('=')
           select (line[..separator], line[(separator + 1)..]),
    ];

    public static UnitFile Service { get; } = new(PathOf("streaming-daemon.service"));

    public static UnitFile Socket { get; } = new(PathOf("streaming-daemon.socket"));

    /// <summary>Each assignment.</summary>
    public IEnumerable<string> Settings => _settings.Select(s => $"{s.Key}={s.Value}");

    public static UnitFile Of(string name) => new(PathOf(name));

    /// <summary>The one value of a key.</summary>
    public string this[string key] => _settings.Single(s => s.Key == key).Value;

    public IEnumerable<string> All(string key) => _settings.Where(s => s.Key == key).Select(s => s.Value);

    public static string PathOf(string name) => Tool.InRepository("deploy", "systemd", name);
}
