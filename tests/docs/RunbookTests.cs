namespace StreamingDaemon.DocsTests;

/// <summary>Every command of the runbooks on a healthy machine whose model's server takes a key.</summary>
[Trait("Needs", "NativeAot")]
public sealed class RunbookTests
{
    private const string Runbooks = OperatorTests.Runbooks;
    private const string Status = "systemctl status streaming-daemon.service";
    private const string Check =
        @"systemd-run --pipe --wait --quiet --property=User=streaming-daemon --property=Group=www-data \";
    private const string Outcomes =
        "curl --silent http://127.0.0.1:9090/metrics | grep '^streaming_daemon_streams_total.* [1-9]'";
    private const string Open =
        "ls -l \"/proc/$(systemctl show --property MainPID --value streaming-daemon.service)/fd\"";
    private const string HowItEnded =
        "systemctl show --property=Result,ExecMainCode,ExecMainStatus,NRestarts streaming-daemon.service";
    private const string Memory = "systemctl show --property=MemoryCurrent,MemoryMax streaming-daemon.service";
    private const string MoreMemory = "systemctl set-property streaming-daemon.service MemoryMax=1G";
    private const string Refused =
        "curl --silent http://127.0.0.1:9090/metrics | grep -E '^streaming_daemon_upstream_(errors|retries)_total.* [1-9]' ||";
    private const string Disk = "df -h /var/log /var/lib/streaming-daemon";
    private const string Deliveries = "streaming-daemon deliveries list";
    private const string RetryAll = "streaming-daemon deliveries retry --all";
    private const string NotDelivered =
        "journalctl -u streaming-daemon.service -o cat --since -15min | grep AnswerNotDelivered || echo \"none was lost\"";
    private const string RedisGone =
        "journalctl -u streaming-daemon.service -o cat --since -1h | grep Redis || echo \"Redis was there\"";
    private const string MakeRoom = "journalctl --vacuum-size=500M";
    private const string Waiting = "curl --silent http://127.0.0.1:9090/metrics | "
        + "grep -E '^streaming_daemon_streams_state|_time_to_first_token_seconds_(sum|count)'";
    private const string Reload = "systemctl reload streaming-daemon.service";
    private const string Replace = "systemctl start streaming-daemon-replace.service";

    [Fact]
    [Runs(Runbooks, Status)]
    [Runs(Runbooks, Check)]
    [Runs(Runbooks, Outcomes)]
    [Runs(Runbooks, Open)]
    [Runs(Runbooks, HowItEnded)]
    [Runs(Runbooks, Memory)]
    [Runs(Runbooks, MoreMemory)]
    [Runs(Runbooks, Refused)]
    [Runs(Runbooks, Disk)]
    [Runs(Runbooks, NotDelivered)]
    [Runs(Runbooks, RedisGone)]
    [Runs(Runbooks, MakeRoom)]
    [Runs(Runbooks, Waiting)]
    [Runs(Runbooks, Reload)]
    [Runs(Runbooks, Replace)]
    public async Task Command_of_the_runbooks_does_on_a_healthy_machine_what_it_should()
    {
        await using var machine = await Machine.StartAsync();
        await InstallAsync(machine);
        Task<string> Run(string command) => machine.RunAsync(Runbooks, command, "/");

        Assert.Contains("active (running)", await Run(Status), StringComparison.Ordinal);
        var check = await Run(Check);
        Assert.Contains("The daemon would start.", check, StringComparison.Ordinal);
        Assert.DoesNotContain("no API key", check, StringComparison.Ordinal);
        Assert.Contains("backend=\"openai\",outcome=\"Completed\"} 1", await Run(Outcomes), StringComparison.Ordinal);
        Assert.Contains("socket:", await Run(Open), StringComparison.Ordinal);
        Assert.Contains("Result=success", await Run(HowItEnded), StringComparison.Ordinal);
        Assert.Contains("streaming_daemon_memory_max_bytes", await Run(Memory), StringComparison.Ordinal);
        Assert.Equal("the model refused nothing\n", await Run(Refused));
        var disk = await Run(Disk);
        Assert.Contains("streaming_daemon_log_lines_lost_total 0", disk, StringComparison.Ordinal);
        Assert.Contains("streaming_daemon_deliveries_total{result=\"lost\"} 0", disk, StringComparison.Ordinal);
        Assert.Equal("none was lost\n", await Run(NotDelivered));
        Assert.Equal("Redis was there\n", await Run(RedisGone));
        await Run(MakeRoom);
        Assert.Contains("streaming_daemon_streams_state", await Run(Waiting), StringComparison.Ordinal);
        await Run(Reload);
        await machine.UntilAsync("journalctl -u streaming-daemon -o cat | grep reloaded");
        await Run(MoreMemory);
        await Run(Replace);
        await machine.ShellAsync(Send);
    }

    [Fact]
    [Runs(Runbooks, Deliveries)]
    [Runs(Runbooks, RetryAll)]
    public async Task Answer_that_waits_for_its_receiver_is_listed_and_sent_at_once_when_it_is_back()
    {
        await using var machine = await Machine.StartAsync();
        await InstallAsync(machine);
        // The shell of somebody on call has no key, and no configuration in its directory.
        static string Fresh(string command) => $"cd /; unset OPENAI_API_KEY; {Book.Find(Runbooks, command).Text.Trim()}";
        await machine.UntilAsync($"{Fresh(Deliveries)} | grep '0 waiting'");

        await machine.ShellAsync($"touch /tmp/model/away; {Send}");
        await machine.UntilAsync($"{Fresh(Deliveries)} | grep 503");
        Assert.Contains("1 waiting, 0 dead", await machine.ShellAsync(Fresh(Deliveries)), StringComparison.Ordinal);

        await machine.ShellAsync("rm /tmp/model/away");
        Assert.Contains("to be sent at once", await machine.ShellAsync(Fresh(RetryAll)), StringComparison.Ordinal);
        await machine.UntilAsync($"{Fresh(Deliveries)} | grep '0 waiting, 0 dead'");
    }

    private const string Send = "setpriv --reuid www-data --regid www-data --clear-groups streaming-daemon send "
        + "--socket /run/streaming-daemon/streaming-daemon.sock --prompt hello | grep -x 'data: \\[DONE\\]'";

    /// <summary>The package as in the guide, with the backend openai, a server of its kind, and a receiver of
    /// deliveries, which is away while there is a file of that name.</summary>
    private static async Task InstallAsync(Machine machine)
    {
        await machine.ShellAsync("""
            mkdir -p artifacts/aot /tmp/model; cp /native/* artifacts/aot/
            apt-get install --yes "$(deploy/debian/build.sh artifacts/aot/streaming-daemon "$PWD/artifacts")"
            cat >/tmp/model/index.php <<'END'
            <?php
            if ($_SERVER['REQUEST_URI'] === '/deliver') {
                http_response_code(file_exists('/tmp/model/away') ? 503 : 204);
                exit;
            }
            if (($_SERVER['HTTP_AUTHORIZATION'] ?? '') !== 'Bearer sk-of-the-test') { http_response_code(401); exit; }
            header('Content-Type: text/event-stream');
            echo 'data: {"choices":[{"index":0,"delta":{"content":"Hi"}}]}', "\n\n";
            echo 'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}', "\n\ndata: [DONE]\n\n";
            END
            sed -i -e 's|^# url = ""$|url = "http://127.0.0.1:8000/deliver"|' -e 's|^# which = .*$|which = "all"|' \
                -e 's|^# secret = ""$|secret = "whsec_plJ3nmyCDGBKInavdOK15jsl"|' /etc/streaming-daemon/config.toml
            (php -S 127.0.0.1:8000 /tmp/model/index.php >/dev/null 2>&1 &)
            """);
        await machine.RunAsync(OperatorTests.Operations, OperatorsMachine.Metrics);
        await machine.ShellAsync(
            "sed -i 's|^# api_base = .*|api_base = \"http://127.0.0.1:8000/v1\"|' /etc/streaming-daemon/config.toml");
        await machine.RunAsync(OperatorTests.Operations, OperatorTests.Key);
        await machine.ShellAsync(Send);
    }
}
