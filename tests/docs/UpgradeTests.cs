namespace StreamingDaemon.DocsTests;

/// <summary>The package over a daemon that runs, on a machine with systemd: newer, older, and one that does
/// not take the configuration.</summary>
[Trait("Needs", "NativeAot")]
public sealed class UpgradeTests : IAsyncLifetime
{
    private const string Operations = OperatorTests.Operations;
    private const string Upgrade = "deploy/debian/build.sh artifacts/aot/streaming-daemon artifacts";
    private const string Downgrade = "apt-get install --yes --allow-downgrades ./streaming-daemon_previous.deb";
    private const string Replace = "systemctl start streaming-daemon-replace.service";
    private const string WhatFailed = "journalctl -u streaming-daemon-replace.service";
    private const string StandInsLog = "journalctl -u streaming-daemon-between.service";
    private const string Config = "/etc/streaming-daemon/config.toml";
    private const string MainPid = "systemctl show --property MainPID --value streaming-daemon.service";

    private const string Send = "setpriv --reuid www-data --regid www-data --clear-groups streaming-daemon send "
        + "--socket /run/streaming-daemon/streaming-daemon.sock --prompt hello";

    private Machine? _machine;

    private Machine Machine => _machine!;

    public async ValueTask InitializeAsync()
    {
        _machine = await Machine.StartAsync();
        await Machine.ShellAsync($$"""
            mkdir -p artifacts/aot; cp /native/* artifacts/aot/
            cp "$(deploy/debian/build.sh artifacts/aot/streaming-daemon /tmp)" streaming-daemon_previous.deb
            apt-get install --yes ./streaming-daemon_previous.deb
            sed -i 's/^# delay_ms = 50$/delay_ms = 200/' {{Config}}
            systemctl restart streaming-daemon.service
            """);
    }

    public async ValueTask DisposeAsync() => await Machine.DisposeAsync();

    [Fact]
    [Runs(Operations, Upgrade)]
    [Runs(Operations, Downgrade)]
    [Runs(Operations, StandInsLog)]
    public async Task Other_version_takes_over_while_old_streams_run_and_no_reader_waits()
    {
        await NewerVersionAsync();
        await ReplacedWhileStreamsBeginAsync(() => Machine.RunAsync(Operations, Upgrade), "newer");
        await Machine.ShellAsync("dpkg-query --show streaming-daemon | grep 99.0.0");

        // The stand-in had the reader who did not wait.
        Assert.Contains("\"Outcome\":\"Completed\"", await Machine.RunAsync(Operations, StandInsLog),
            StringComparison.Ordinal);
        await ReplacedWhileStreamsBeginAsync(() => Machine.RunAsync(Operations, Downgrade), "older");
        await Machine.ShellAsync("dpkg-query --show streaming-daemon | grep 0.1.0");
    }

    [Fact]
    [Runs(Operations, Replace)]
    [Runs(Operations, WhatFailed)]
    public async Task Older_version_that_does_not_know_a_key_leaves_the_newer_one_running()
    {
        await NewerVersionAsync();
        await Machine.RunAsync(Operations, Upgrade);
        var running = await Machine.ShellAsync(MainPid);
        // A key that the newer version had brought.
        await Machine.ShellAsync($"sed -i 's/^\\[server\\]$/[server]\\nnew_in_99 = true/' {Config}");

        var said = await Machine.RunAsync(Operations, Downgrade);

        Assert.Contains("the new version did not take over", said, StringComparison.Ordinal);
        Assert.Contains("unknown key", await Machine.RunAsync(Operations, WhatFailed), StringComparison.Ordinal);
        Assert.Equal(running, await Machine.ShellAsync(MainPid));
        Assert.EndsWith("data: [DONE]\n\n", await Machine.ShellAsync(Send), StringComparison.Ordinal);

        await Machine.ShellAsync($"sed -i /^new_in_99/d {Config}");
        await Machine.RunAsync(Operations, Replace);

        Assert.NotEqual(running, await Machine.ShellAsync(MainPid));
        Assert.EndsWith("data: [DONE]\n\n", await Machine.ShellAsync(Send), StringComparison.Ordinal);
    }

    [Fact]
    public async Task New_daemon_that_does_not_start_leaves_the_stand_in_serving()
    {
        // No check sees it: the port is taken when the new one starts.
        await Machine.ShellAsync($"""
            sed -i 's/^# metrics_port = 0$/metrics_port = 9090/' {Config}
            php -S 127.0.0.1:9090 >/dev/null 2>&1 &
            """);
        await Machine.UntilAsync("curl --silent http://127.0.0.1:9090/");

        await Machine.ShellAsync($"! {Replace}; systemctl is-active streaming-daemon-between.service");

        Assert.EndsWith("data: [DONE]\n\n", await Machine.ShellAsync(Send), StringComparison.Ordinal);
        await Machine.ShellAsync($"""
            sed -i 's/^metrics_port = 9090$/metrics_port = 9091/' {Config}
            systemctl reset-failed streaming-daemon.socket streaming-daemon.service
            {Replace}
            systemctl is-active streaming-daemon.service && ! systemctl is-active streaming-daemon-between.service
            """);
        Assert.EndsWith("data: [DONE]\n\n", await Machine.ShellAsync(Send), StringComparison.Ordinal);
    }

    private async Task NewerVersionAsync() => await Machine.ShellAsync(
        "sed -i 's|<Version>.*</Version>|<Version>99.0.0</Version>|' Directory.Build.props");

    /// <summary>Streams begin all the time. None is cut, and some begin while the old daemon lets its streams
    /// end: their readers do not wait for that.</summary>
    private async Task ReplacedWhileStreamsBeginAsync(Func<Task<string>> replace, string name)
    {
        var old = await Machine.ShellAsync(MainPid);
        await Machine.ShellAsync($$"""
            mkdir /tmp/{{name}} && cd /tmp/{{name}}
            ask() {
              {{Send}} | tee $1 | {
                read -r first
                systemctl show --property ActiveState --value streaming-daemon.service >$1.state
                cat >/dev/null
              }
            }
            (n=0; while [ ! -e enough ]; do n=$((n + 1)); ask $n & sleep 0.3; done; wait; touch ended) >/dev/null 2>&1 &
            """);
        await Machine.UntilAsync($"grep -q data: /tmp/{name}/1");

        await replace();

        await Machine.ShellAsync($"touch /tmp/{name}/enough");
        await Machine.UntilAsync($"test -e /tmp/{name}/ended");
        Assert.NotEqual(old, await Machine.ShellAsync(MainPid));
        await Machine.ShellAsync("! systemctl is-active streaming-daemon-between.service");
        Assert.Equal("", await Machine.ShellAsync(
            $"cd /tmp/{name}; grep -Lx 'data: \\[DONE\\]' $(ls | grep -x '[0-9]*') || true"));
        await Machine.ShellAsync($"grep -x deactivating /tmp/{name}/*.state");
    }
}
