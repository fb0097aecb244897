namespace StreamingDaemon.DocsTests;

/// <summary>A machine on which an operator has followed the guides: the package, then Apache.</summary>
[Runs(OperatorTests.Operations, Needed)]
[Runs(OperatorTests.Operations, Package)]
[Runs(OperatorTests.Operations, Metrics)]
[Runs(OperatorTests.Apache, Module)]
[Runs(OperatorTests.Apache, FirstQuestion)]
public sealed class OperatorsMachine : IAsyncLifetime
{
    private const string Needed = "apt-get install git clang zlib1g-dev";
    private const string Package = "dotnet publish -c Release -r linux-x64 src/StreamingDaemon.Host -o artifacts/aot";
    internal const string Metrics = @"sed -i 's/^# metrics_port = 0$/metrics_port = 9090/' /etc/streaming-daemon/config.toml";
    private const string Module = "apt-get install apache2 apache2-dev apache2-ssl-dev libapache2-mod-php make gcc";
    private const string FirstQuestion =
        """curl --no-buffer --json '{"prompt":"hello"}' http://127.0.0.1/chat/stream.php""";

    private Machine? _machine;

    internal Machine Machine => _machine!;

    /// <summary>The output of each of the guides' blocks.</summary>
    internal string PackageInstalled { get; private set; } = "";
    internal string MetricsOn { get; private set; } = "";
    internal string ModuleInstalled { get; private set; } = "";
    internal string FirstAnswer { get; private set; } = "";

    public async ValueTask InitializeAsync()
    {
        _machine = await Machine.StartAsync();
        await _machine.RunAsync(OperatorTests.Operations, Needed);
        PackageInstalled = await _machine.RunAsync(OperatorTests.Operations, Package);
        MetricsOn = await _machine.RunAsync(OperatorTests.Operations, Metrics);
        // Where its package is new, it does this.
        await _machine.ShellAsync("systemctl start apache2");
        ModuleInstalled = await _machine.RunAsync(OperatorTests.Apache, Module);
        FirstAnswer = await _machine.RunAsync(OperatorTests.Apache, FirstQuestion);
    }

    public async ValueTask DisposeAsync()
    {
        if (_machine is not null)
            await _machine.DisposeAsync();
    }
}
