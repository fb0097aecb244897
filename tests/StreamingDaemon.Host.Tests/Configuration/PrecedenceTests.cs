using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class PrecedenceTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Fact]
    public void Without_any_source_every_option_has_its_default()
    {
        Assert.Equal(new DaemonOptions(), _sandbox.Load());
    }

    [Fact]
    public void The_defaults_are_those_of_the_contract()
    {
        var options = _sandbox.Load();

        Assert.Equal("/var/run/streaming-daemon.sock", options.Server.Socket);
        Assert.Equal(0x1B0, options.Server.SocketMode);
        Assert.Equal(10_000, options.Server.MaxConnections);
        Assert.Equal(50, options.Mock.DelayMs);
        Assert.False(options.ThreadPool.Enabled);
        Assert.Equal(8, options.ThreadPool.PoolSize);
        Assert.False(options.Performance.SqPoll);
        Assert.Equal(0, options.Monitoring.MetricsPort);
        Assert.False(options.Performance.Benchmark);
    }

    [Theory]
    [InlineData(0, 10_000)]
    [InlineData(1, 1)]
    [InlineData(2, 2)]
    [InlineData(3, 3)]
    [InlineData(4, 4)]
    public void Each_source_overrides_those_below_it(int sources, int expected)
    {
        if (sources >= 1)
            _sandbox.Write("appsettings.json", """{"server": {"max_connections": 1}}""");
        if (sources >= 2)
            _sandbox.Write("streaming-daemon.toml", "[server]\nmax_connections = 2\n");
        if (sources >= 3)
            _sandbox.Environment["STREAMING_DAEMON_SERVER__MAX_CONNECTIONS"] = "3";
        (string, string)[] cli = sources >= 4 ? [("server:max_connections", "4")] : [];

        Assert.Equal(expected, _sandbox.Load(cli).Server.MaxConnections);
    }

    [Fact]
    public void A_higher_source_wins_over_another_spelling_of_a_lower_one()
    {
        _sandbox.Environment["STREAMING_DAEMON_MOCK__DELAY_MS"] = "7";

        Assert.Equal(7, _sandbox.LoadToml("delay = 9\n").Mock.DelayMs);
    }

    [Fact]
    public void Sources_that_set_different_options_add_up()
    {
        _sandbox.Write("appsettings.json", """{"logging": {"level": "debug"}}""");
        _sandbox.Write("streaming-daemon.toml", "[server]\nbacklog = 9\n");
        _sandbox.Environment["MOCK_LATENCY_MS"] = "3";

        var options = _sandbox.Load(("mock:delay_ms", "0"));

        Assert.Equal(("debug", 9, 3, 0), (
            options.Logging.Level, options.Server.Backlog, options.Mock.LatencyMs, options.Mock.DelayMs));
    }

    [Theory]
    [InlineData(new[] { "last.toml" }, 3)]
    [InlineData(new[] { "last.toml", "etc.toml" }, 2)]
    [InlineData(new[] { "last.toml", "etc.toml", "streaming-daemon.toml" }, 1)]
    public void The_first_file_of_the_search_that_exists_is_read_alone(string[] files, int expected)
    {
        string[] search = ["", "streaming-daemon.toml", "etc.toml", "last.toml"];
        foreach (var file in files)
            _sandbox.Write(file, $"[server]\nbacklog = {Array.IndexOf(search, file)}\n");

        var options = _sandbox.Load();

        Assert.Equal(expected, options.Server.Backlog);
        Assert.Equal(_sandbox.PathOf(files[^1]), options.ConfigFile);
    }

    [Theory]
    [InlineData("named.toml")]
    [InlineData(".hidden.toml")]
    public void A_file_named_on_the_command_line_is_read_instead_of_the_search(string name)
    {
        _sandbox.Write("streaming-daemon.toml", "[server]\nbacklog = 1\n");
        var named = _sandbox.Write(name, "[mock]\ndelay_ms = 2\n");

        var options = _sandbox.LoadFile(named);

        Assert.Equal((65_535, 2), (options.Server.Backlog, options.Mock.DelayMs));
        Assert.Equal(named, options.ConfigFile);
    }

    [Fact]
    public void The_search_of_a_process_begins_in_its_directory_and_ends_in_etc()
    {
        Assert.Equal(
            [
                Path.Combine(Environment.CurrentDirectory, "streaming-daemon.toml"),
                "/etc/streaming-daemon/config.toml",
                "/etc/streaming-daemon.toml",
            ],
            ConfigurationSources.OfProcess().SearchPaths);
    }

    [Fact]
    public void The_OpenAI_backend_takes_the_limits_that_are_configured_elsewhere()
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-test";

        var openAI = _sandbox.LoadToml(
            "[timeouts]\nconnect_timeout_ms = 77\n[streaming]\nmax_event_bytes = 5000\n").OpenAI;

        Assert.NotNull(openAI);
        Assert.Equal(("sk-test", 77, 5000), (openAI.ApiKey, openAI.ConnectTimeoutMs, openAI.MaxEventBytes));
    }

    [Fact]
    public void The_OpenAI_backend_without_a_key_is_refused_with_the_variable_to_set()
    {
        Assert.Equal(
            ["backend openai: no API key. Set OPENAI_API_KEY or OPENAI_API_KEY_FILE"],
            _sandbox.Errors(("backend:name", "openai")));
    }

    [Theory]
    [InlineData("", "mock", null)]
    [InlineData("[openai]\napi_base = \"http://localhost:11434/v1\"\n", "openai", "openai.api_base (OPENAI_API_BASE)")]
    [InlineData("[openai]\napi_key = \"sk-1\"\n", "openai", "openai.api_key (OPENAI_API_KEY)")]
    [InlineData("[openai]\napi_key = \"\"\napi_key_file = \"\"\nmodel = \"x\"\n", "mock", null)]
    [InlineData("[openai]\napi_key = \"sk-1\"\n[backend]\nname = \"mock\"\n", "mock", null)]
    public void Address_or_key_of_a_backend_makes_it_the_default_unless_one_is_named(
        string toml, string backend, string? option)
    {
        var options = _sandbox.LoadToml(toml);
        var named = _sandbox.Load(("backend:name", "mock"));

        Assert.Equal((backend, option), (options.Backend.Name, options.BackendChosenBy));
        Assert.Equal(("mock", null), (named.Backend.Name, named.BackendChosenBy));
    }

    [Fact]
    public void Backend_that_its_address_chose_but_that_lacks_a_key_is_refused_with_the_reason_of_the_choice()
    {
        _sandbox.Environment["OPENAI_API_BASE"] = "https://llm.example/v1";

        Assert.Equal(
            ["backend openai, because openai.api_base (OPENAI_API_BASE) is set: no API key. "
                + "Set OPENAI_API_KEY or OPENAI_API_KEY_FILE"],
            _sandbox.Errors());
    }

    [Fact]
    public void Options_that_are_printed_do_not_show_the_key()
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-test";

        var options = _sandbox.Load();

        Assert.DoesNotContain("sk-test", $"{options}");
        Assert.Equal("sk-test", options.OpenAI?.ApiKey);
    }
}
