using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What a site gives its daemons so that they deliver: a spool, a secret, an address.</summary>
internal sealed class DeliverySite : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly Uri _url;

    public DeliverySite(Uri url)
    {
        _url = url;
        Spool = _directory.File("spool");
        File.WriteAllText(SecretFile, DeliveryReceiver.Secret + "\n");
    }

    public string Spool { get; }

    public string SecretFile => _directory.File("secret");

    /// <summary>The files that wait.</summary>
    public IReadOnlyList<string> Pending => Files("pending");

    /// <summary>The files that are not sent again.</summary>
    public IReadOnlyList<string> Dead => Files("dead");

    public Dictionary<string, string> Environment => new()
    {
        ["STREAMING_DAEMON_DELIVERY__URL"] = _url.ToString(),
        ["STREAMING_DAEMON_DELIVERY__SECRET_FILE"] = SecretFile,
        ["STREAMING_DAEMON_DELIVERY__SPOOL_DIR"] = Spool,
        ["STREAMING_DAEMON_DELIVERY__WHICH"] = "all",
    };

    public Task<DaemonProcess> StartAsync(params string[] arguments) => StartAsync(new Dictionary<string, string>(), arguments);

    public Task<DaemonProcess> StartAsync(Dictionary<string, string> more, params string[] arguments) =>
        DaemonProcess.StartAsync(With(more), metrics: true, arguments);

    public Task<DaemonProcess> StartAsync(FakeLlmServer upstream) =>
        StartAsync(upstream.OpenAIEnvironment(false), "--backend", "openai");

    /// <summary>Runs a command of the daemon with this configuration.</summary>
    public Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments) =>
        DaemonProcess.RunAsync(Environment, arguments);

    public Dictionary<string, string> With(Dictionary<string, string> more)
    {
        var all = Environment;
        foreach (var (name, value) in more)
            all[name] = value;
        return all;
    }

    public void Dispose() => _directory.Dispose();

    private IReadOnlyList<string> Files(string name) => Directory.Exists(Path.Combine(Spool, name))
        ? [.. Directory.GetFiles(Path.Combine(Spool, name), "*.json").Order(StringComparer.Ordinal)] : [];
}
