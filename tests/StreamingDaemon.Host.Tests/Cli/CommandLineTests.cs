using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Tests.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Cli;

public sealed class CommandLineTests : IDisposable
{
    private readonly Sandbox _sandbox = new();
    private readonly Invocation _invocation = new();

    public void Dispose() => _sandbox.Dispose();

    private Task<int> Run(string line) =>
        _invocation.RunAsync(_sandbox, line.Split(' ', StringSplitOptions.RemoveEmptyEntries));

    private async Task<DaemonOptions> Options(string line)
    {
        Assert.Equal((0, ""), (await Run(line), _invocation.Error));
        return _invocation.Actions.Options!;
    }

    [Fact]
    public async Task Without_arguments_the_daemon_runs_with_its_defaults()
    {
        Assert.Equal(new DaemonOptions(), await Options(""));
        Assert.Equal("run", _invocation.Actions.Called);
    }

    [Theory]
    [InlineData("--socket /a --socket-mode 0600 --max-connections 7 --delay 1 --thread-pool --pool-size 2 " +
        "--sqpoll --metrics 9090 --benchmark")]
    [InlineData("-s /a -m 600 -c 7 -d 1 -t -p 2 -q -M 9090 -b")]
    [InlineData("-tqb -s/a -m=0o600 -c7 --delay=1 -p2 -M9090")]
    public async Task Each_option_of_the_contract_sets_what_it_names_in_both_forms(string line)
    {
        var options = await Options(line);

        Assert.Equal(("/a", 0x180, 7), (
            options.Server.Socket, options.Server.SocketMode, options.Server.MaxConnections));
        Assert.Equal((1, true, 2, true, 9090, true), (
            options.Mock.DelayMs, options.ThreadPool.Enabled, options.ThreadPool.PoolSize,
            options.Performance.SqPoll, options.Monitoring.MetricsPort, options.Performance.Benchmark));
    }

    [Fact]
    public async Task Socket_type_and_backend_are_words()
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-a";

        var options = await Options("--socket-type stream --backend openai");

        Assert.Equal((SocketKind.Stream, "openai"), (options.Server.SocketType, options.Backend.Name));
    }

    [Theory]
    [InlineData("--config")]
    [InlineData("-C")]
    [InlineData("demo --config")]
    public async Task A_named_file_is_read_and_the_other_options_win_over_it(string option)
    {
        var file = _sandbox.Write("x.toml", "delay = 3\npool_size = 3\nsqpoll = true\n");

        var options = await Options($"{option} {file} --delay 4 --sqpoll=false");

        Assert.Equal((4, 3, false),
            (options.Mock.DelayMs, options.ThreadPool.PoolSize, options.Performance.SqPoll));
    }

    [Theory]
    [InlineData("--sqpoll --sqpoll=false", false)]
    [InlineData("-q=false -q", true)]
    [InlineData("-q=yes --sqpoll=no", false)]
    [InlineData("-q=false -tq", true)]
    [InlineData("-q demo --sqpoll=off", false)]
    [InlineData("--sqpoll false", false)]
    public async Task Of_a_repeated_switch_the_last_one_wins_in_any_word_for_it(string line, bool expected) =>
        Assert.Equal(expected, (await Options(line)).Performance.SqPoll);

    [Theory]
    [InlineData("--delay 1 demo --port 99 --once")]
    [InlineData("demo --once --port 99 --delay 1")]
    [InlineData("--delay 2 demo --port=99 --once -d1")]
    public async Task Options_of_the_daemon_stand_before_or_after_a_command(string line)
    {
        var options = await Options(line);

        Assert.Equal(("demo port=99 once=True", 1), (_invocation.Actions.Called, options.Mock.DelayMs));
    }

    [Theory]
    [InlineData("-d 1 -d 2", 2)]
    [InlineData("--delay 2 --delay=1", 1)]
    [InlineData("-d x -d 3", 3)]
    public async Task Of_a_repeated_option_the_last_wins(string line, int expected) =>
        Assert.Equal(expected, (await Options(line)).Mock.DelayMs);

    [Theory]
    [InlineData("check", "check json=False")]
    [InlineData("check --upstream --json", "check json=True upstream")]
    [InlineData("check --apache http://h/doctor.php?key=k", "check json=False apache=http://h/doctor.php?key=k")]
    [InlineData("health --json --metrics 9090", "health json=True")]
    [InlineData("check --json", "check json=True")]
    [InlineData("demo", "demo port=8080 once=False")]
    [InlineData("demo --port 0", "demo port=0 once=False")]
    [InlineData("deliveries list", "deliveries List all json=False")]
    [InlineData("deliveries list --json", "deliveries List all json=True")]
    [InlineData("deliveries retry msg_1", "deliveries Retry msg_1 json=False")]
    [InlineData("--backend mock deliveries drop --all", "deliveries Drop all json=False")]
    [InlineData("send --socket /a --prompt hi", "send socket=/a prompt=hi data=- timeout=330")]
    [InlineData("--socket /a send --data {\"prompt\":1}", "send socket=/a prompt=- data={\"prompt\":1} timeout=330")]
    [InlineData("send --prompt hi", "send socket=/var/run/streaming-daemon.sock prompt=hi data=- timeout=330")]
    [InlineData("send -s /a --prompt @file", "send socket=/a prompt=@file data=- timeout=330")]
    [InlineData("send -s /a --prompt [suggest]", "send socket=/a prompt=[suggest] data=- timeout=330")]
    [InlineData("send -s /a --prompt hi --timeout 5", "send socket=/a prompt=hi data=- timeout=5")]
    [InlineData("send -s /a --prompt -5", "send socket=/a prompt=-5 data=- timeout=330")]
    public async Task Each_command_reaches_its_action(string line, string expected)
    {
        Assert.Equal(0, await Run(line));
        Assert.Equal(expected, _invocation.Actions.Called);
    }

    [Theory]
    [InlineData("deliveries retry", "give either the ID of a delivery, or --all")]
    [InlineData("deliveries drop msg_1 --all", "give either the ID of a delivery, or --all")]
    [InlineData("deliveries dorp msg_1", "did you mean drop?")]
    public async Task Command_of_deliveries_that_says_too_little_or_too_much_is_refused(string line, string problem)
    {
        Assert.Equal(2, await Run(line));
        Assert.Contains(problem, _invocation.Error);
        Assert.Null(_invocation.Actions.Called);
    }

    [Fact]
    public async Task Sending_to_a_named_socket_needs_no_configuration()
    {
        _sandbox.Write("streaming-daemon.toml", "broken");

        Assert.Equal(0, await Run("send --socket /a --prompt hi"));
        Assert.Equal(2, await Run("send --prompt hi"));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public async Task The_exit_code_is_that_of_the_action(int code)
    {
        _invocation.Actions.Answer = _ => Task.FromResult(code);

        Assert.Equal(code, await Run(""));
    }

    [Fact]
    public async Task A_failure_of_the_machine_is_a_sentence_and_exit_1()
    {
        _invocation.Actions.Answer = _ => throw new IOException("The socket is taken.");

        Assert.Equal(1, await Run(""));
        Assert.Equal("streaming-daemon: The socket is taken.\n", _invocation.Error);
    }

    [Theory]
    [InlineData("--nope", "unknown option '--nope'; see streaming-daemon --help")]
    [InlineData("--sockets=/a", "unknown option '--sockets=/a'; did you mean --socket?")]
    [InlineData("--max-conections 5", "unknown option '--max-conections'; did you mean --max-connections?")]
    [InlineData("-x", "unknown option '-x'; see streaming-daemon --help")]
    [InlineData("-?", "unknown option '-?'; see streaming-daemon --help")]
    [InlineData("/h", "unknown argument '/h'; see streaming-daemon --help")]
    [InlineData("chek", "unknown argument 'chek'; did you mean check?")]
    [InlineData("[suggest]", "unknown argument '[suggest]'; see streaming-daemon --help")]
    [InlineData("demo extra", "unknown argument 'extra'; see streaming-daemon --help")]
    [InlineData("--json", "unknown option '--json'; see streaming-daemon --help")]
    [InlineData("--socket", "Required argument missing for option: '--socket'; see streaming-daemon --help")]
    [InlineData("--socket --sqpoll", "--socket: the value is missing; expected --socket PATH")]
    [InlineData("-s /a -s", "--socket: the value is missing; expected --socket PATH")]
    [InlineData("--sqpoll=maybe", "--sqpoll: 'maybe' is neither true nor false (1, yes, on; 0, no, off); " +
        "expected true or false")]
    [InlineData("--sqpoll maybe", "--sqpoll: 'maybe' is neither true nor false (1, yes, on; 0, no, off); " +
        "expected true or false")]
    [InlineData("check check", "unknown argument 'check'; see streaming-daemon --help")]
    [InlineData("--delay soon", "--delay: 'soon' is not a number; expected an integer from 0 to 60000")]
    [InlineData("-d -1", "--delay: '-1' is out of range; expected an integer from 0 to 60000")]
    [InlineData("--pool-size 65", "--pool-size: '65' is out of range; expected an integer from 1 to 64")]
    [InlineData("--pool-size 0", "--pool-size: '0' is out of range; expected an integer from 1 to 64")]
    [InlineData("-c 0", "--max-connections: '0' is out of range; expected an integer from 1 to 1000000")]
    [InlineData("-M 65536",
        "--metrics: '65536' is out of range; expected an integer from 0 to 65535 (0 is off)")]
    [InlineData("-m 0999", "--socket-mode: '0999' is not octal; expected an octal mode up to 0777, " +
        "written \"0660\" or 0o660")]
    [InlineData("--socket-type dgram", "--socket-type: 'dgram' is unknown; expected seqpacket or stream")]
    [InlineData("--backend mok", "--backend: 'mok' is unknown, did you mean mock; expected mock or openai")]
    [InlineData("--backend openai", "backend openai: no API key. Set OPENAI_API_KEY or OPENAI_API_KEY_FILE")]
    [InlineData("--config /nowhere.toml",
        "--config: /nowhere.toml does not exist or cannot be reached; expected a TOML file")]
    [InlineData("demo --port x",
        "--port: 'x' is not a number; expected an integer from 0 to 65535 (0 is any free one)")]
    [InlineData("send -s /a --prompt x --timeout -1",
        "--timeout: '-1' is out of range; expected an integer from 0 to 86400 (0 is no limit)")]
    [InlineData("send --socket /a", "send: nothing to send; give --prompt TEXT or --data JSON")]
    [InlineData("send --data x", "--data: the value is not a JSON object; " +
        "expected for example '{\"prompt\": \"Hello\"}'")]
    public async Task A_wrong_command_line_is_one_line_on_stderr_and_exit_2(string line, string expected)
    {
        Assert.Equal(2, await Run(line));
        Assert.Equal($"streaming-daemon: {expected}\n", _invocation.Error);
        Assert.Equal(("", null), (_invocation.Output, _invocation.Actions.Called));
    }

    [Fact]
    public async Task Check_with_json_tells_mistakes_of_the_configuration_as_findings_on_stdout()
    {
        Assert.Equal(2, await Run("check --json --delay soon --metrics y"));

        Assert.Equal("", _invocation.Error);
        using var report = JsonDocument.Parse(_invocation.Output);
        Assert.False(report.RootElement.GetProperty("ok").GetBoolean());
        var findings = report.RootElement.GetProperty("checks").EnumerateArray().ToList();
        Assert.All(findings, finding => Assert.Equal(("configuration", "failed"),
            (finding.GetProperty("name").GetString(), finding.GetProperty("status").GetString())));
        Assert.Equal(
            [
                "--delay: 'soon' is not a number; expected an integer from 0 to 60000",
                "--metrics: 'y' is not a number; expected an integer from 0 to 65535 (0 is off)",
            ],
            findings.Select(finding => finding.GetProperty("detail").GetString()!).Order());
        // The same as without --json.
        Assert.Equal((2, ""), (await Run("check --delay soon"), _invocation.Output));
    }

    [Fact]
    public async Task Every_mistake_is_told_at_once()
    {
        Assert.Equal(2, await Run("--delay x --metrics y --pool-size 0"));
        Assert.Equal(3, _invocation.Error.Count(c => c == '\n'));
    }

    [Fact]
    public async Task An_empty_path_is_refused()
    {
        Assert.Equal(2, await _invocation.RunAsync(_sandbox, "--socket", ""));
        Assert.StartsWith("streaming-daemon: --socket: the path is empty;", _invocation.Error);
    }

    [Theory]
    [InlineData("--version")]
    [InlineData("-v")]
    [InlineData("demo -v")]
    public async Task The_version_is_on_stdout_with_exit_0(string line)
    {
        Assert.Equal(0, await Run(line));
        Assert.Equal(($"streaming-daemon 0.1.0 ({DaemonVersion.Revision})\n", ""), (_invocation.Output, _invocation.Error));
    }

    [Theory]
    [InlineData("--help")]
    [InlineData("-h")]
    public async Task Help_is_on_stdout_and_names_every_option_with_default_and_range(string line)
    {
        Assert.Equal((0, ""), (await Run(line), _invocation.Error));
        var words = Regex.Replace(_invocation.Output, @"\s+", " ");
        string[] others = ["-C, --config <FILE>", "-h, --help", "-v, --version", "check", "health", "demo", "send"];

        Assert.All(others, name => Assert.Contains(name, words));
        Assert.All(OptionTable.BuiltIn.All.Where(spec => spec.Cli is not null), spec =>
        {
            var cli = spec.Cli!;
            Assert.Contains((cli.Short is null ? "" : cli.Short + ", ") + cli.Long, words);
            Assert.Contains(spec.Description, words);
            Assert.Contains($"[default: {spec.ToHelp(new DaemonOptions())}]", words);
            if (cli.Value is not null)
                Assert.Contains($"{cli.Long} <{cli.Value}> {spec.Description}; {spec.Range}", words);
        });
    }

    [Theory]
    [InlineData("demo --help", "--port <N>")]
    [InlineData("send -h", "--prompt <TEXT>")]
    [InlineData("send -h", "--timeout <SECONDS>")]
    [InlineData("check -h", "--json")]
    public async Task Help_of_a_command_names_its_own_options_too(string line, string expected)
    {
        Assert.Equal(0, await Run(line));
        Assert.Contains(expected, _invocation.Output);
        Assert.Contains("--socket-mode <MODE>", _invocation.Output);
    }

    [Fact]
    public async Task Help_and_version_do_not_read_the_configuration()
    {
        _sandbox.Write("streaming-daemon.toml", "broken");

        Assert.Equal((0, 0, 2), (await Run("--help"), await Run("--version"), await Run("")));
    }
}
