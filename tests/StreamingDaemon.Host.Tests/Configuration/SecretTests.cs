using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Tests.Cli;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>No message quotes an API key, even if the key is in the wrong place.</summary>
public sealed class SecretTests : IDisposable
{
    private const string Secret = "sk-proj-S3CR3T";
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Theory]
    [InlineData("[openai]\napi_key §")]
    [InlineData("[openai]\napi_key = §")]
    [InlineData("[openai]\napi_key: §")]
    [InlineData("[openai]\napi_key = \"§")]
    [InlineData("[openai]\napi_key = '§")]
    [InlineData("[openai]\napi_key = '''§")]
    [InlineData("[openai]\napi_key = \"\\q§\"")]
    [InlineData("[openai]\napi_key = '§' §")]
    [InlineData("[openai]\napi_key = '§' # \u0001")]
    [InlineData("[openai]\napi_key = ['§']")]
    [InlineData("[openai]\napi_key = ['§' '§']")]
    [InlineData("[openai]\napi_key = {§ = 1}")]
    [InlineData("[openai]\napi_key = {a = '§'")]
    [InlineData("[openai]\napi_key = 1§")]
    [InlineData("[openai]\napi_key = +§")]
    [InlineData("[openai]\napi_key = 2020-01-01§")]
    [InlineData("[openai]\napi_key = 'a §'")]
    [InlineData("[openai]\napi_key = '§'\napi_key = '§'")]
    [InlineData("[openai]\napi_key.§ = 1\napi_key.§ = 1")]
    [InlineData("[openai]\napi_keyy = '§'")]
    [InlineData("[openai]\napi_key2 = §")]
    [InlineData("[openai]\napi_base = §")]
    [InlineData("[openai]\napi_base = '§'")]
    [InlineData("[openai]\napi_base = 'http://user:§@host/?q'")]
    [InlineData("[openai]\napi_base = 'ftp://user:§@host'")]
    [InlineData("[openai]\n§")]
    [InlineData("[openai]\n§ = 1")]
    [InlineData("[openai]\n\"§\" = 1")]
    [InlineData("[openai]\n\"§\" = 1\n\"§\" = 1")]
    [InlineData("[openai.§]\napi_key = 1")]
    [InlineData("[openai]\n[openai.§]\n[openai.§]")]
    [InlineData("§ = 1")]
    [InlineData("§.model = 'x'")]
    [InlineData("\"§\" = 1")]
    [InlineData("\"§.model\" = 1")]
    [InlineData("[§]\nmodel = 'x'")]
    [InlineData("[§]")]
    [InlineData("[§")]
    [InlineData("[§]]")]
    [InlineData("[[§]]\nmodel = 'x'")]
    [InlineData("[server]\nkey = '§'")]
    [InlineData("openai = '§'")]
    [InlineData("openai = {§ = 1}")]
    [InlineData("{\"api_key\": \"§\"}")]
    [InlineData("[openai]\nauth = '§'")]
    [InlineData("[openai]\nhttp2_enabled = '§'")]
    [InlineData("[openai]\nmax_retries = '§'")]
    [InlineData("[logging]\nlevel = '§'")]
    [InlineData("[server]\nmetrics_port = '§'")]
    [InlineData("[server]\nsocket_mode = '§'")]
    [InlineData("[streaming]\nevents = ['§']")]
    public void Message_about_a_TOML_file_quotes_no_key_in_the_wrong_place(string text)
    {
        var errors = _sandbox.TomlErrors(text.Replace("§", Secret) + "\n");

        Assert.NotEmpty(errors);
        Assert.All(errors, error => Assert.DoesNotContain("S3CR3T", error));
        Assert.All(errors, error => Assert.Matches(@"^streaming-daemon\.toml:\d+:", error));
    }

    [Theory]
    [InlineData("""{"openai": {"api_key": §}}""")]
    [InlineData("""{"openai": {"api_key" "§"}}""")]
    [InlineData("""{"openai": {"api_key": ["§"]}}""")]
    [InlineData("""{"openai": {"api_key": "§ x"}}""")]
    [InlineData("""{"openai": {"§": 1}}""")]
    [InlineData("""{"§": {"model": "x"}}""")]
    [InlineData("""{"§": "§"}""")]
    [InlineData("""{"openai": {"api_base": "ftp://§@x"}}""")]
    [InlineData("""{"openai": {}} §""")]
    [InlineData("\"§\"")]
    [InlineData("§")]
    public void Message_about_appsettings_quotes_no_key_in_the_wrong_place(string json)
    {
        _sandbox.Write("appsettings.json", json.Replace("§", Secret));

        Assert.All(_sandbox.Errors(), error => Assert.DoesNotContain("S3CR3T", error));
    }

    [Fact]
    public void Unknown_key_of_appsettings_is_told_by_its_line()
    {
        _sandbox.Write("appsettings.json", $$"""
            {
              "server": { "backlog": 7 },
              "openai": {
                "{{Secret}}": 1
              }
            }
            """);

        Assert.StartsWith("appsettings.json:4: unknown key; [openai] takes", Assert.Single(_sandbox.Errors()));
    }

    /// <summary>These messages name the file that is to be read.</summary>
    [Theory]
    [InlineData("[openai]\napi_key_file = '§'")]
    [InlineData("[openai]\nca_file = '§'")]
    [InlineData("[openai]\nclient_cert_file = '§'\nclient_key_file = '§'")]
    [InlineData("[delivery]\nurl = 'http://127.0.0.1/'\nspool_dir = '/tmp'\nsecret_file = '§'")]
    [InlineData("[answers]\nstore = 'redis'\nredis = '127.0.0.1:1'\nredis_password_file = '§'")]
    public void Message_about_a_file_that_is_not_there_quotes_no_key_in_place_of_its_name(string text)
    {
        _sandbox.Write("streaming-daemon.toml", text.Replace("§", Secret));

        var errors = _sandbox.Errors();

        Assert.Contains(errors, error => error.Contains("a value that looks like a key: cannot be read", StringComparison.Ordinal));
        Assert.All(errors, error => Assert.DoesNotContain("S3CR3T", error));
    }

    [Theory]
    [InlineData("debug", false)]
    [InlineData("/run/secrets/openai-api-key-2026", false)]
    [InlineData("http://127.0.0.1:8080/v1", false)]
    [InlineData("llama3.2:3b-instruct-q4_K_M", false)]
    [InlineData("sk-1", true)]
    [InlineData("Bearer abc", true)]
    [InlineData("gsk_A1b2C3d4E5f6G7h8", true)]
    public void Value_that_looks_like_a_key_is_not_shown(string value, bool isHidden) =>
        Assert.Equal(isHidden, ShownValue.MayBeKey(value));

    [Theory]
    [InlineData("OPENAI_API_KEY", "§ x")]
    [InlineData("OPENAI_API_KEY_FILE", "§")]
    [InlineData("OPENAI_HTTP2_ENABLED", "§")]
    [InlineData("OPENAI_API_BASE", "§")]
    [InlineData("OPENAI_API_BASE", "ftp://user:§@host")]
    [InlineData("STREAMING_DAEMON_OPENAI__API_KEYS", "§")]
    public void Message_about_a_variable_quotes_no_key(string name, string value)
    {
        _sandbox.Environment[name] = value.Replace("§", Secret);

        Assert.All(_sandbox.Errors(), error => Assert.DoesNotContain("S3CR3T", error));
    }

    [Theory]
    [InlineData("--api-key", "§")]
    [InlineData("--api-key=§")]
    [InlineData("-k§")]
    [InlineData("§")]
    [InlineData("send", "§")]
    [InlineData("[§]")]
    [InlineData("--prompt=§")]
    public async Task Message_about_the_command_line_quotes_no_key_that_it_does_not_know(params string[] words)
    {
        var invocation = new Invocation();

        Assert.Equal(2, await invocation.RunAsync(_sandbox, [.. words.Select(w => w.Replace("§", Secret))]));

        Assert.Contains("unknown", invocation.Error);
        Assert.DoesNotContain("S3CR3T", invocation.Error + invocation.Output);
    }

    [Fact]
    public void Fault_of_the_reading_itself_is_told_without_its_text()
    {
        var refused = Assert.Throws<ConfigurationException>(
            () => ConfigurationRead.Load(() => throw new FormatException(Secret)));

        Assert.Equal("configuration: cannot be read; please report this fault (FormatException)", refused.Message);
    }

    [Theory]
    [InlineData("max_conections", "max_conections")]
    [InlineData("server:max_connections", "server.max_connections")]
    [InlineData("sever:max_conections", "sever.max_conections")]
    [InlineData("openai:level", "openai.level")]
    [InlineData("openai:hunter2", null)]
    [InlineData("hunter2:model", null)]
    [InlineData("", null)]
    public void Key_is_shown_if_each_part_is_a_word_of_ours_or_nearly(string key, string? shown) =>
        Assert.Equal(shown, OptionTable.BuiltIn.NameToShow(key));

    [Fact]
    public void More_mistakes_than_a_screen_holds_are_counted()
    {
        var errors = _sandbox.TomlErrors(string.Concat(Enumerable.Range(0, 100).Select(i => $"x{i} = 1\n")));

        Assert.Equal((31, "configuration: and 70 more mistakes"), (errors.Length, errors[^1]));
    }
}
