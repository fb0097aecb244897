namespace StreamingDaemon.DocsTests;

/// <summary>The operators' guides, followed to the letter.</summary>
[Trait("Needs", "NativeAot")]
public sealed class OperatorTests(OperatorsMachine operators) : IClassFixture<OperatorsMachine>
{
    internal const string ReadMe = "README.md";
    internal const string Operations = "docs/operations.md";
    internal const string Runbooks = "docs/runbooks.md";
    internal const string Apache = "docs/apache.md";

    private const string ReadMeSetUp =
        "dotnet publish -c Release -r linux-x64 src/StreamingDaemon.Host -o /opt/streaming-daemon";
    private const string ReadMeSend =
        "/opt/streaming-daemon/streaming-daemon send --socket /run/streaming-daemon/streaming-daemon.sock --prompt \"Hello\"";
    private const string TakeOver =
        "setpriv --reuid streaming-daemon --regid www-data --clear-groups /opt/streaming-daemon-new/streaming-daemon \\";
    internal const string Key = "install -m 600 /dev/null /etc/streaming-daemon/openai-api-key";
    private const string Keys = "docs/keys.md";
    private const string Delivery = "docs/delivery.md";
    private const string DeliverySecret = "install -m 640 -g www-data /dev/null /etc/streaming-daemon/delivery-secret";
    private const string NewKey = """printf %s "$OPENAI_API_KEY" >/etc/streaming-daemon/openai-api-key""";
    private const string WithoutPackage =
        "useradd --system --gid www-data --home-dir /nonexistent --shell /usr/sbin/nologin streaming-daemon";
    private const string SameBytes = "git archive --prefix=check/ \"$COMMIT\" | tar --extract --directory /tmp";
    private const string StopBoth = "systemctl stop streaming-daemon.socket streaming-daemon.service";
    private const string BeginAgain = "systemctl reset-failed streaming-daemon.socket streaming-daemon.service";
    private const string Rules = "install -m 644 deploy/prometheus/alerts.yml /etc/prometheus/streaming-daemon.yml";

    private const string Ask = """curl --no-buffer --silent --json '{"prompt":"hello"}' http://127.0.0.1/chat/stream.php""";

    [Fact]
    public void Package_starts_its_units_and_is_ready_with_metrics_on()
    {
        Assert.Equal(2, operators.PackageInstalled.Split("active (running)").Length - 1);
        Assert.Contains("The daemon would start.", operators.MetricsOn, StringComparison.Ordinal);
        Assert.EndsWith("ok\n", operators.MetricsOn, StringComparison.Ordinal);
    }

    [Fact]
    public void Apache_with_the_module_streams_the_daemons_answer()
    {
        Assert.Contains("Syntax OK", operators.ModuleInstalled, StringComparison.Ordinal);
        Assert.Contains("Prompt: hello", operators.FirstAnswer, StringComparison.Ordinal);
        Assert.Contains("data: [DONE]\n", operators.FirstAnswer, StringComparison.Ordinal);
    }

    [Fact]
    [Runs(Operations, "systemctl reload streaming-daemon")]
    [Runs("docs/keys.md", "systemctl reload streaming-daemon")]
    public async Task Reload_takes_what_can_change_and_names_what_waits_for_a_restart()
    {
        var machine = operators.Machine;
        await machine.ShellAsync(
            "sed -i 's/^# max_connections = 10000$/max_connections = 9000/' /etc/streaming-daemon/config.toml");

        foreach (var page in (string[])["docs/keys.md", Operations])
            await machine.RunAsync(page, "systemctl reload streaming-daemon");

        await machine.UntilAsync(
            "journalctl -u streaming-daemon -o cat | grep 'max_connections.*restart\\|restart.*max_connections'");
    }

    [Fact]
    [Runs(Operations, "systemctl restart streaming-daemon")]
    public async Task Restart_lets_the_stream_that_runs_end()
    {
        var machine = operators.Machine;
        await AskOnAndOnAsync(machine, "/tmp/restart");

        await machine.RunAsync(Operations, "systemctl restart streaming-daemon");

        await NoneIsCutAsync(machine, "/tmp/restart");
        await machine.ShellAsync("systemctl is-active streaming-daemon");
    }

    [Fact]
    [Runs(Operations, StopBoth)]
    [Runs(Runbooks, BeginAgain)]
    public async Task Both_units_stop_and_begin_again_and_the_service_alone_brings_its_socket()
    {
        await using var machine = await Machine.StartAsync();
        await InstallByHandAsync(machine);
        const string Active =
            "systemctl is-active streaming-daemon.socket && systemctl is-active streaming-daemon.service";

        await machine.RunAsync(Operations, StopBoth);
        await machine.ShellAsync(
            "! systemctl is-active streaming-daemon.socket && ! systemctl is-active streaming-daemon.service");
        await machine.RunAsync(Runbooks, BeginAgain);
        await machine.ShellAsync(Active);

        await machine.RunAsync(Operations, StopBoth);
        await machine.ShellAsync($"systemctl start streaming-daemon.service; {Active}");
    }

    [Fact]
    [Runs(Operations, SameBytes)]
    public async Task Package_is_made_again_byte_for_byte_of_its_commit()
    {
        var machine = operators.Machine;

        // Compares, and fails if they differ.
        await machine.ShellAsync($"""
            export COMMIT=$(git rev-parse HEAD) PACKAGE=$(realpath artifacts/streaming-daemon_*.deb)
            {Book.Find(Operations, SameBytes).Text}
            """);
    }

    [Fact]
    [Runs(Operations, Rules)]
    public async Task Prometheus_is_given_the_rules()
    {
        await using var machine = await Machine.StartAsync();
        // Nested user namespaces are unavailable in the copy.
        await machine.ShellAsync("""
            mkdir -p /etc/systemd/system/prometheus.service.d
            printf '[Service]\nPrivateUsers=no\n' >/etc/systemd/system/prometheus.service.d/copy.conf
            systemctl daemon-reload
            """);

        Assert.Contains("SUCCESS", await machine.RunAsync(Operations, Rules), StringComparison.Ordinal);
        // Every alert leads to the site's copy of the runbooks.
        await machine.ShellAsync("! grep runbooks.example /etc/prometheus/streaming-daemon.yml");
        await machine.ShellAsync("systemctl is-active prometheus");
    }

    [Fact]
    [Runs(Delivery, DeliverySecret)]
    [Runs(Delivery, "streaming-daemon deliveries list")]
    [Runs(Delivery, "streaming-daemon deliveries retry --all")]
    public async Task Secret_of_deliveries_is_read_by_the_daemon_and_what_waits_is_listed()
    {
        var machine = operators.Machine;
        await machine.RunAsync(Delivery, DeliverySecret);

        Assert.Contains("deliveries", await machine.ShellAsync(
            "setpriv --reuid streaming-daemon --regid www-data --clear-groups env "
            + "STREAMING_DAEMON_DELIVERY__URL=http://127.0.0.1/chat/deliver.php "
            + "STREAMING_DAEMON_DELIVERY__SECRET_FILE=/etc/streaming-daemon/delivery-secret "
            + "STREAMING_DAEMON_DELIVERY__SPOOL_DIR=/tmp/deliveries "
            + "streaming-daemon check --socket /run/streaming-daemon/check.sock --metrics 0"),
            StringComparison.Ordinal);
        Assert.Contains("0 waiting, 0 dead", await machine.RunAsync(Delivery, "streaming-daemon deliveries list"),
            StringComparison.Ordinal);
        Assert.Equal("0 to be sent at once\n",
            await machine.RunAsync(Delivery, "streaming-daemon deliveries retry --all"));
    }

    [Fact]
    [Runs(Operations, "streaming-daemon check")]
    [Runs(ReadMe, "streaming-daemon --help")]
    [Runs(Operations, "streaming-daemon health")]
    [Runs("CHANGELOG.md", "streaming-daemon health")]
    [Runs("docs/configuration.md", "streaming-daemon check")]
    public async Task Binary_of_the_package_says_what_it_takes_whether_it_would_start_and_whether_it_is_ready()
    {
        var machine = operators.Machine;

        Assert.Contains("--metrics", await machine.RunAsync(ReadMe, "streaming-daemon --help"), StringComparison.Ordinal);
        // If no file of the directory comes before the package's file.
        Assert.Equal("ok\n", await machine.RunAsync(Operations, "streaming-daemon health", "/"));
        Assert.Equal("ok\n", await machine.RunAsync("CHANGELOG.md", "streaming-daemon health", "/"));
        foreach (var page in (string[])["docs/configuration.md", Operations])
        {
            Assert.Contains("would start", await machine.RunAsync(page, "streaming-daemon check"),
                StringComparison.Ordinal);
        }
    }

    [Fact]
    [Runs(Operations, Key)]
    [Runs(Keys, NewKey)]
    public async Task Key_is_for_root_alone_and_turns_the_other_backend_on_and_is_replaced()
    {
        await using var machine = await Machine.StartAsync();
        await InstallByHandAsync(machine);

        await machine.RunAsync(Operations, Key);

        Assert.Equal("600 root\n", await machine.ShellAsync("stat -c '%a %U' /etc/streaming-daemon/openai-api-key"));
        await machine.ShellAsync("""journalctl -u streaming-daemon -o cat | grep '"Backend":"openai"'""");
        await machine.ShellAsync("! tr '\\0' '\\n' </proc/$(systemctl show --property MainPID --value streaming-daemon)/environ | grep OPENAI");
        const string Copy = "/run/credentials/streaming-daemon.service/openai-api-key";
        await machine.ShellAsync($"! setpriv --reuid www-data --regid www-data --clear-groups cat {Copy}");

        await machine.ShellAsync($"OPENAI_API_KEY=sk-new\n{Book.Find(Keys, NewKey).Text}");

        Assert.Equal("sk-new\n", await machine.ShellAsync($"cat {Copy}"));
    }

    [Fact]
    [Runs(Operations, WithoutPackage)]
    public async Task Units_installed_by_hand_stream_to_apaches_user()
    {
        await using var machine = await Machine.StartAsync();

        await InstallByHandAsync(machine);

        var answer = await machine.ShellAsync("setpriv --reuid www-data --regid www-data --clear-groups "
            + "streaming-daemon send --socket /run/streaming-daemon/streaming-daemon.sock --prompt x");
        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
    }

    /// <summary>Requests one stream after the other, each answer in a file of the directory; returns once the
    /// first has begun.</summary>
    private static async Task AskOnAndOnAsync(Machine machine, string directory)
    {
        await machine.ShellAsync($$"""
            mkdir {{directory}}
            (n=0; while [ ! -e {{directory}}.enough ]; do n=$((n + 1)); {{Ask}} >{{directory}}/$n || true; done
              touch {{directory}}.ended) >/dev/null 2>&1 &
            """);
        await machine.UntilAsync($"grep -q data: {directory}/1");
    }

    /// <summary>A client that has read a word has read the whole answer; and the next client gets
    /// one.</summary>
    private static async Task NoneIsCutAsync(Machine machine, string directory)
    {
        Assert.EndsWith("data: [DONE]\n\n", await machine.ShellAsync(Ask), StringComparison.Ordinal);
        await machine.ShellAsync($"touch {directory}.enough");
        await machine.UntilAsync($"test -e {directory}.ended");
        var begun = await machine.ShellAsync($"grep -l '^data: ' {directory}/*");
        Assert.Equal(begun, await machine.ShellAsync($"grep -lx 'data: \\[DONE\\]' {directory}/*"));
    }

    private static async Task InstallByHandAsync(Machine machine)
    {
        await machine.ShellAsync("mkdir -p artifacts/aot; cp /native/* artifacts/aot/");
        await machine.RunAsync(Operations, WithoutPackage);
    }

    [Fact]
    [Runs(ReadMe, ReadMeSetUp)]
    [Runs(ReadMe, ReadMeSend)]
    [Runs(Operations, TakeOver)]
    public async Task Daemon_started_by_hand_is_replaced_while_a_stream_runs_and_nobody_loses_one()
    {
        await using var machine = await Machine.StartAsync();
        // A key would choose the backend openai.
        var old = await machine.BeginAsync(ReadMe, ReadMeSetUp, "listening on", "unset OPENAI_API_KEY");
        Assert.EndsWith("data: [DONE]\n\n", await machine.RunAsync(ReadMe, ReadMeSend), StringComparison.Ordinal);
        await machine.ShellAsync("cp -r /opt/streaming-daemon /opt/streaming-daemon-new");
        var send = Book.Find(ReadMe, ReadMeSend).Text;
        await machine.ShellAsync($"({send} >/tmp/answer) &");
        await machine.UntilAsync("grep data: /tmp/answer");

        await machine.BeginAsync(Operations, TakeOver, "listening on", """
            unset OPENAI_API_KEY
            for process in /proc/[0-9]*; do
              command=$(tr '\0' ' ' <$process/cmdline)
              [[ $command != '/opt/streaming-daemon/streaming-daemon --socket'* ]] || OLD=${process#/proc/}
            done
            """);

        Assert.Equal(0, await old.ExitCodeAsync());
        await machine.ShellAsync("grep -x 'data: \\[DONE\\]' /tmp/answer");
        Assert.EndsWith("data: [DONE]\n\n", await machine.RunAsync(ReadMe, ReadMeSend), StringComparison.Ordinal);
    }
}
