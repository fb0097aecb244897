using Microsoft.Extensions.Configuration;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Configuration.Toml;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class TomlFileTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    /// <summary>All keys that the C daemon reads.</summary>
    private const string LegacyKeys =
        """
        socket_path = "/tmp/c.sock"
        socket_mode = "0600"
        max_connections = 77
        write_timeout_ms = 1000
        shutdown_timeout_s = 9
        message_delay_ms = 5
        thread_pool = true
        pool_size = 4
        sqpoll = true
        benchmark = true
        metrics_port = 9100
        """;

    private static void AssertLegacy(DaemonOptions options)
    {
        Assert.Equal("/tmp/c.sock", options.Server.Socket);
        Assert.Equal(0x180, options.Server.SocketMode);
        Assert.Equal(77, options.Server.MaxConnections);
        Assert.Equal(1000, options.Timeouts.WriteTimeoutMs);
        Assert.Equal(9, options.Timeouts.ShutdownTimeoutS);
        Assert.Equal(5, options.Mock.DelayMs);
        Assert.True(options.ThreadPool.Enabled);
        Assert.Equal(4, options.ThreadPool.PoolSize);
        Assert.True(options.Performance.SqPoll);
        Assert.True(options.Performance.Benchmark);
        Assert.Equal(9100, options.Monitoring.MetricsPort);
    }

    [Fact]
    public void Keys_of_the_daemon_in_C_are_read_without_sections() =>
        AssertLegacy(_sandbox.LoadToml(LegacyKeys));

    [Theory]
    [InlineData("server")]
    [InlineData("timeouts")]
    [InlineData("streaming")]
    [InlineData("thread_pool")]
    [InlineData("performance")]
    [InlineData("monitoring")]
    public void Keys_of_the_daemon_in_C_are_read_under_any_of_its_sections(string section) =>
        AssertLegacy(_sandbox.LoadToml($"[{section}]\n{LegacyKeys}"));

    [Theory]
    [InlineData("[]", new int[0])]
    [InlineData("[33]", new[] { 33 })]
    [InlineData("[ 33, # Apache\n 1_000, ]", new[] { 33, 1000 })]
    public void A_list_of_integers_is_an_array(string value, int[] expected)
    {
        var options = _sandbox.LoadToml($"[server]\nallowed_uids = {value}\n");

        Assert.Equal(expected, options.Server.AllowedUids);
        Assert.Empty(options.Server.AllowedGids);
    }

    [Theory]
    [InlineData("[]", DeltaKinds.None)]
    [InlineData("['usage']", DeltaKinds.Usage)]
    [InlineData("[ \"finish\", # why it ended\n 'reasoning', 'finish' ]",
        DeltaKinds.FinishReason | DeltaKinds.Reasoning)]
    public void A_list_of_events_is_an_array_of_names(string value, DeltaKinds expected) =>
        Assert.Equal(expected, _sandbox.LoadToml($"[streaming]\nevents = {value}\n").Streaming.Events);

    [Theory]
    [InlineData("socket = \"/a\"")]
    [InlineData("socket_path = \"/a\"")]
    [InlineData("[server]\nsocket = \"/a\"")]
    [InlineData("server.socket = \"/a\"")]
    [InlineData("server = { socket = \"/a\" }")]
    [InlineData("\"server\".'socket' = '/a' # comment")]
    public void A_key_may_be_spelled_in_any_way_that_TOML_has(string text) =>
        Assert.Equal("/a", _sandbox.LoadToml(text).Server.Socket);

    [Theory]
    [InlineData("delay = 3")]
    [InlineData("[mock]\ndelay_ms = 3")]
    [InlineData("[mock]\r\ndelay_ms = 0x3\r\n")]
    public void The_delay_has_its_old_names_and_its_own(string text) =>
        Assert.Equal(3, _sandbox.LoadToml(text).Mock.DelayMs);

    [Theory]
    [InlineData("0o660")]
    [InlineData("\"0660\"")]
    [InlineData("\"0o660\"")]
    [InlineData("\"660\"")]
    [InlineData("432")]
    public void A_mode_is_octal_as_text_and_the_bits_it_is_as_a_number(string mode) =>
        Assert.Equal(0x1B0, _sandbox.LoadToml($"socket_mode = {mode}\n").Server.SocketMode);

    [Fact]
    public void A_mode_as_C_writes_it_is_refused_with_both_ways_that_TOML_has() => Assert.Equal(
        "streaming-daemon.toml:2: server.socket_mode: 0660 is not a TOML number, which has no leading " +
        "zeros: write \"0660\" or 0o660; expected an octal mode up to 0777, written \"0660\" or 0o660",
        _sandbox.TomlError("[server]\nsocket_mode = 0660\n"));

    [Theory]
    [InlineData("660", "660 is decimal here: write \"0660\" or 0o660")]
    [InlineData("0o1777", "0o1777 is out of range")]
    [InlineData("\"01777\"", "\"01777\" is out of range")]
    [InlineData("\"0680\"", "\"0680\" is not octal")]
    [InlineData("\"\"", "\"\" is not octal")]
    [InlineData("-1", "-1 is out of range")]
    [InlineData("true", "true is a boolean")]
    public void A_mode_that_cannot_be_meant_is_refused(string mode, string why)
    {
        var error = _sandbox.TomlError($"socket_mode = {mode}\n");

        Assert.StartsWith($"streaming-daemon.toml:1: socket_mode: {why}; expected an octal mode", error);
    }

    [Theory]
    [InlineData("max_conections = 5",
        "1: max_conections: unknown key; did you mean server.max_connections?")]
    [InlineData("[server]\nmax_conections = 5",
        "2: server.max_conections: unknown key; did you mean server.max_connections?")]
    [InlineData("[server]\nlevel = 'debug'", "2: server.level: unknown key; did you mean logging.level?")]
    [InlineData("[openai]\napi_keys = 'sk-hidden'",
        "2: openai.api_keys: unknown key; did you mean openai.api_key?")]
    [InlineData("[sever]\nbacklog = 5\nsocket = 'x'", "1: [sever]: unknown section; did you mean [server]?")]
    [InlineData("[[server]]\nbacklog = 5", "1: [[server]]: no option is an array of tables; write [server]")]
    [InlineData("[mock]\nzzzzzzzzzz = 5",
        "2: unknown key; [mock] takes delay_ms, latency_ms")]
    [InlineData("[server]\nmax_connections = 'many'",
        "2: server.max_connections: \"many\" is a string; expected an integer from 1 to 1000000")]
    [InlineData("[server]\nmax_connections = '5'",
        "2: server.max_connections: \"5\" is a string; expected an integer from 1 to 1000000")]
    [InlineData("[server]\nmax_connections = 0",
        "2: server.max_connections: 0 is out of range; expected an integer from 1 to 1000000")]
    [InlineData("[server]\nmax_connections = 5_000_000_000",
        "2: server.max_connections: 5_000_000_000 is out of range; expected an integer from 1 to 1000000")]
    [InlineData("[server]\nmax_connections = 1.5",
        "2: server.max_connections: the value has a type that no option takes; " +
        "expected an integer from 1 to 1000000")]
    [InlineData("[server]\nmax_connections = [1]",
        "2: server.max_connections: [1] is an array; expected an integer from 1 to 1000000")]
    [InlineData("[server]\nallowed_uids = 33",
        "2: server.allowed_uids: 33 is a number; expected integers from 0 to 2147483647, [33, 1000] in a file " +
        "and 33,1000 elsewhere")]
    [InlineData("[server]\nallowed_uids = [33, -1]",
        "2: server.allowed_uids: '-1' in [33,-1] is not such a number; expected integers from 0 to 2147483647, " +
        "[33, 1000] in a file and 33,1000 elsewhere")]
    [InlineData("[server]\nallowed_gids = [\"www-data\"]",
        "2: server.allowed_gids: the value has a type that no option takes; expected integers from 0 to " +
        "2147483647, [33, 1000] in a file and 33,1000 elsewhere")]
    [InlineData("[thread_pool]\npool_size = 65",
        "2: thread_pool.pool_size: 65 is out of range; expected an integer from 1 to 64")]
    [InlineData("[performance]\nsqpoll = 1", "2: performance.sqpoll: 1 is a number; expected true or false")]
    [InlineData("[performance]\nring_entries = 1000",
        "2: performance.ring_entries: 1000 is not a power of two; expected a power of two from 64 to 32768")]
    [InlineData("[backend]\nname = 'openia'",
        "2: backend.name: \"openia\" is unknown, did you mean openai; expected mock or openai")]
    [InlineData("[monitoring]\nmetrics_address = '1'",
        "2: monitoring.metrics_address: \"1\" is not an IP address; " +
        "expected an IP address such as 127.0.0.1, 0.0.0.0 or ::")]
    [InlineData("[streaming]\nevents = ['usage', 'reasonin']",
        "2: streaming.events: 'reasonin' in [usage,reasonin] is unknown, did you mean reasoning; expected a list "
        + "of reasoning, finish, usage, [\"reasoning\", \"finish\"] in a file and reasoning,finish elsewhere")]
    [InlineData("[streaming]\nevents = 'usage'",
        "2: streaming.events: \"usage\" is a string; expected a list of reasoning, finish, usage, "
        + "[\"reasoning\", \"finish\"] in a file and reasoning,finish elsewhere")]
    [InlineData("[streaming]\nevents = ['']",
        "2: streaming.events: '' in [] is unknown; expected a list of reasoning, finish, usage, "
        + "[\"reasoning\", \"finish\"] in a file and reasoning,finish elsewhere")]
    [InlineData("[streaming]\nformat = 'openi'",
        "2: streaming.format: \"openi\" is unknown, did you mean openai; expected text or openai")]
    [InlineData("[server]\nsocket = ''",
        "2: server.socket: the path is empty; expected the path of a Unix socket, at most 107 bytes")]
    public void A_mistake_is_refused_with_its_line_and_what_would_be_right(string text, string expected)
    {
        Assert.Contains($"streaming-daemon.toml:{expected}", _sandbox.TomlErrors(text));
    }

    [Fact]
    public void A_section_that_does_not_exist_is_told_once_for_all_its_keys() =>
        Assert.Single(_sandbox.TomlErrors("[sever]\nbacklog = 5\nsocket = 'x'\n"));

    [Fact]
    public void A_path_counts_in_bytes_of_UTF8()
    {
        var longest = "/" + new string('é', 53);

        Assert.Equal(longest, _sandbox.LoadToml($"socket = '{longest}'").Server.Socket);
        Assert.Contains("108 bytes", _sandbox.TomlError($"socket = '{longest}x'"));
    }

    [Fact]
    public void One_option_under_two_names_is_refused_with_both_lines() => Assert.Equal(
        "streaming-daemon.toml:3: mock.delay_ms: sets the same option as " +
        "streaming-daemon.toml:1: delay; keep one",
        _sandbox.TomlError("delay = 1\n[mock]\ndelay_ms = 1\n"));

    [Fact]
    public void One_key_twice_is_refused_once_with_both_lines() => Assert.Equal(
        "streaming-daemon.toml:3:1: server.backlog is already defined on line 2; keep one",
        _sandbox.TomlError("[server]\nbacklog = 1\nbacklog = 2\n"));

    [Fact]
    public void What_is_no_TOML_is_refused_with_line_and_column() => Assert.StartsWith(
        "streaming-daemon.toml:2:11: the value is missing",
        _sandbox.TomlError("[server]\nbacklog = \n"));

    [Fact]
    public void All_mistakes_of_all_sources_are_told_at_once()
    {
        _sandbox.Environment["MOCK_LATENCY_MS"] = "soon";
        _sandbox.Write("appsettings.json", """{"server": {"backlog": "x"}}""");
        _sandbox.Write("streaming-daemon.toml", "socket_mode = 0660\nfoo = 1\n[server]\nbacklog = 0\n");

        Assert.Equal(6, _sandbox.Errors(("mock:delay_ms", "x")).Length);
    }

    [Theory]
    [InlineData("[openai]\napi_key = 'sk-hidden'\napi_key = 'sk-hidden'\n")]
    [InlineData("[openai]\napi_key = sk-hidden\n")]
    [InlineData("[openai]\napi_key = \"sk-hidden\n")]
    [InlineData("[openai]\napi_key = 'sk-hidden'\n[openai]\nmodel = 'x'\n")]
    [InlineData("[openai]\napi_key = 'sk-hidden '\n")]
    [InlineData("[openai]\napi_key = ['sk-hidden']\n")]
    [InlineData("[openai]\napi_keyy = 'sk-hidden'\n")]
    [InlineData("[openai]\napi_base = 'ftp://user:sk-hidden@host'\n")]
    public void No_message_shows_a_secret(string text) =>
        Assert.All(_sandbox.TomlErrors(text), error => Assert.DoesNotContain("hidden", error));

    [Fact]
    public void A_named_file_that_is_missing_is_refused() => Assert.Equal(
        ["--config: nowhere.toml does not exist or cannot be reached; expected a TOML file"],
        _sandbox.ErrorsWithFile(_sandbox.PathOf("nowhere.toml")));

    [Fact]
    public void A_directory_where_a_file_is_named_is_refused_as_one()
    {
        Directory.CreateDirectory(_sandbox.PathOf("somewhere"));

        Assert.Equal(["--config: somewhere is a directory; expected a TOML file"],
            _sandbox.ErrorsWithFile(_sandbox.PathOf("somewhere")));
    }

    [Fact]
    public void A_UTF8_file_may_begin_with_its_byte_order_mark()
    {
        File.WriteAllBytes(_sandbox.PathOf("streaming-daemon.toml"), [0xEF, 0xBB, 0xBF, .. "delay = 3"u8]);

        Assert.Equal(3, _sandbox.Load().Mock.DelayMs);
    }

    [Theory]
    [InlineData(new byte[] { 0x27, 0xFF, 0x27 })]
    [InlineData(new byte[] { 0xFF, 0xFE })]
    [InlineData(new byte[] { 0xFF, 0xFE, 0x61, 0x00 })]
    public void A_file_that_is_not_UTF8_is_refused(byte[] content)
    {
        File.WriteAllBytes(_sandbox.PathOf("streaming-daemon.toml"), content);

        Assert.StartsWith("streaming-daemon.toml: cannot be read: ", Assert.Single(_sandbox.Errors()));
    }

    [Fact]
    public void Any_TOML_file_can_be_a_source_of_configuration()
    {
        var path = _sandbox.Write("any.toml", "top = 1\n[a.b]\nc = 'x'\nd = true\ne = 0x10\n");

        var configuration = new ConfigurationBuilder()
            .AddTomlFile(path)
            .AddTomlFile(_sandbox.PathOf("absent.toml"), optional: true)
            .Build();

        Assert.Equal(("1", "x", "true", "16"),
            (configuration["top"], configuration["a:b:c"], configuration["a:b:d"], configuration["a:b:e"]));
    }

    [Fact]
    public void A_source_that_is_no_TOML_names_its_line()
    {
        var path = _sandbox.Write("any.toml", "a = 1\nb = \n");

        var builder = new ConfigurationBuilder().AddTomlFile(path);
        var refused = Assert.Throws<InvalidDataException>(builder.Build);

        Assert.Contains("any.toml:2:", refused.Message);
    }
}
