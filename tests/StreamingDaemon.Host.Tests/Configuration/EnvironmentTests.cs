using System.Security.Cryptography.X509Certificates;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class EnvironmentTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public EnvironmentTests()
    {
        using var certificate = SelfSignedCertificate.Create();
        using var key = certificate.GetECDsaPrivateKey()!;
        _sandbox.Write("other.pem", certificate.ExportCertificatePem() + "\n"
            + key.ExportPkcs8PrivateKeyPem());
        _sandbox.Write("password", "a-password");
    }

    /// <summary>A certificate and its key.</summary>
    private string PemFile => _sandbox.PathOf("other.pem");

    private string PasswordFile => _sandbox.PathOf("password");

    public void Dispose() => _sandbox.Dispose();

    [Fact]
    public void Every_option_can_be_set_by_its_variable()
    {
        // A key and the file of a key exclude each other: KeyFileTests.
        var together = OptionTable.BuiltIn.All.Where(spec => spec.Key is not ("openai:api_key_file" or "delivery:secret_file")).ToList();
        foreach (var spec in together)
            _sandbox.Environment[spec.EnvName] = Other(spec);

        var options = _sandbox.Load();

        Assert.All(together, spec =>
            Assert.Equal(Other(spec), spec.ToToml(options).Trim('"', '[', ']')));
    }

    /// <summary>A valid value that is not the default.</summary>
    private string Other(OptionSpec spec) => spec.Key switch
    {
        "server:socket" or "openai:api_socket" => "/tmp/other.sock",
        "server:socket_mode" => "0600",
        "server:socket_group" => "other",
        "server:socket_type" => "stream",
        "server:max_memory" => "256Mi",
        "backend:name" => "openai",
        "logging:level" => "error",
        "logging:format" => "json",
        "monitoring:metrics_address" => "::1",
        "openai:api_key" => "sk-other",
        "openai:api_base" => "http://localhost:1234/v1",
        "openai:auth" => "api-key",
        "openai:model" => "other",
        "openai:http2_enabled" => "true",
        "openai:ca_file" or "delivery:ca_file" or "answers:redis_ca_file" or "openai:client_cert_file"
            or "openai:client_key_file" => PemFile,
        "delivery:url" => "http://localhost:1234/deliver",
        "delivery:secret" => "other",
        "delivery:which" => "all",
        "delivery:spool_dir" => "/tmp/other",
        "delivery:max_bytes" => "32Mi",
        "streaming:half_close" => "keep",
        "answers:store" => "redis",
        "answers:redis" => "redis:6379",
        "answers:redis_user" => "chat",
        "answers:redis_password_file" => PasswordFile,
        "streaming:format" => "openai",
        "streaming:events" => "usage",
        _ => spec.ToToml(OptionTable.BuiltIn.Defaults) switch
        {
            "[]" => "33, 1000",
            "true" => "false",
            "false" => "true",
            "4096" => "2048",
            "212960" => "4096",
            "65535" => "128",
            "\"1Mi\"" or "\"64Mi\"" or "\"256Mi\"" => "2Mi",
            "0" => "1",
            var number => (int.Parse(number) + 1).ToString(),
        },
    };

    [Theory]
    [InlineData(",33")]
    [InlineData("33,")]
    [InlineData("33,,0")]
    [InlineData("www-data")]
    [InlineData("4294967296")]
    public void A_list_with_a_slip_in_it_is_refused_as_a_whole(string value)
    {
        _sandbox.Environment["STREAMING_DAEMON_SERVER__ALLOWED_UIDS"] = value;

        Assert.Contains("STREAMING_DAEMON_SERVER__ALLOWED_UIDS", Assert.Single(_sandbox.Errors()));
    }

    [Fact]
    public void The_names_of_the_trade_set_their_options()
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-a";
        _sandbox.Environment["OPENAI_API_BASE"] = "http://mock:8080/v1";
        _sandbox.Environment["OPENAI_MODEL"] = "m";
        _sandbox.Environment["OPENAI_API_SOCKET"] = "/tmp/api.sock";
        _sandbox.Environment["OPENAI_HTTP2_ENABLED"] = "no";
        _sandbox.Environment["OPENAI_INSECURE_SSL"] = "yes";
        _sandbox.Environment["MOCK_LATENCY_MS"] = "12";

        var options = _sandbox.Load();
        var openAI = options.OpenAI!;

        Assert.Equal(("sk-a", "http://mock:8080/v1", "m", "/tmp/api.sock", false, true, 12), (
            openAI.ApiKey, openAI.ApiBase.ToString(), openAI.Model, openAI.ApiSocket, openAI.Http2Enabled,
            openAI.InsecureSsl, options.Mock.LatencyMs));
    }

    [Theory]
    [InlineData("1", true)]
    [InlineData("true", true)]
    [InlineData("YES", true)]
    [InlineData("on", true)]
    [InlineData("0", false)]
    [InlineData("False", false)]
    [InlineData("no", false)]
    [InlineData("off", false)]
    public void A_switch_understands_the_usual_words(string word, bool expected)
    {
        _sandbox.Environment["OPENAI_API_KEY"] = "sk-a";
        _sandbox.Environment["OPENAI_HTTP2_ENABLED"] = word;
        _sandbox.Environment["OPENAI_INSECURE_SSL"] = word;

        var openAI = _sandbox.Load().OpenAI!;

        Assert.Equal((expected, expected), (openAI.Http2Enabled, openAI.InsecureSsl));
    }

    [Theory]
    [InlineData("0660")]
    [InlineData("660")]
    [InlineData("0o660")]
    public void A_mode_is_octal_in_each_spelling(string mode)
    {
        _sandbox.Environment["STREAMING_DAEMON_SERVER__SOCKET_MODE"] = mode;

        Assert.Equal(0x1B0, _sandbox.Load().Server.SocketMode);
    }

    [Fact]
    public void An_empty_variable_is_an_unset_one()
    {
        _sandbox.Environment["STREAMING_DAEMON_SERVER__BACKLOG"] = "";
        _sandbox.Environment["OPENAI_API_KEY"] = "";

        var options = _sandbox.LoadToml("[server]\nbacklog = 5\n");

        Assert.Equal(5, options.Server.Backlog);
        Assert.Null(options.OpenAI);
    }

    [Theory]
    [InlineData("OPENAI_INSECURE_SSL", "maybe",
        "'maybe' is neither true nor false (1, yes, on; 0, no, off); expected true or false")]
    [InlineData("MOCK_LATENCY_MS", "soon", "'soon' is not a number; expected an integer from 0 to 60000")]
    [InlineData("MOCK_LATENCY_MS", "60001", "'60001' is out of range; expected an integer from 0 to 60000")]
    [InlineData("STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S", "0",
        "'0' is out of range; expected an integer from 1 to 3600")]
    [InlineData("OPENAI_API_BASE", "api.example.com",
        "the URL does not begin with http:// or https://; expected an http or https URL such as https://api.openai.com/v1")]
    [InlineData("OPENAI_API_KEY", "sk-hidden\n",
        "the value ends with a line break, which no HTTP header may hold; " +
        "expected a key without spaces and line breaks")]
    [InlineData("STREAMING_DAEMON_MAX_CONNECTIONS", "5",
        "unknown variable; did you mean STREAMING_DAEMON_SERVER__MAX_CONNECTIONS?")]
    [InlineData("STREAMING_DAEMON_SERVER__BACKLOK", "5",
        "unknown variable; did you mean STREAMING_DAEMON_SERVER__BACKLOG?")]
    public void A_variable_that_cannot_be_meant_is_refused_by_name(string name, string value, string problem)
    {
        _sandbox.Environment[name] = value;

        Assert.Equal([$"{name}: {problem}"], _sandbox.Errors());
    }

    [Fact]
    public void Two_variables_for_one_option_are_refused_by_name()
    {
        _sandbox.Environment["OPENAI_MODEL"] = "a";
        _sandbox.Environment["STREAMING_DAEMON_OPENAI__MODEL"] = "b";

        Assert.Equal(
            ["STREAMING_DAEMON_OPENAI__MODEL: sets the same option as OPENAI_MODEL; keep one"],
            _sandbox.Errors());
    }

    [Theory]
    [InlineData("STREAMING_DAEMON_SERVICE_HOST")]
    [InlineData("STREAMING_DAEMON_SERVICE_PORT")]
    [InlineData("STREAMING_DAEMON_SERVICE_PORT_METRICS")]
    [InlineData("STREAMING_DAEMON_PORT")]
    [InlineData("STREAMING_DAEMON_PORT_9090_TCP")]
    [InlineData("STREAMING_DAEMON_PORT_9090_TCP_ADDR")]
    public void Variables_that_Kubernetes_sets_for_a_Service_of_this_name_are_not_ours(string name)
    {
        _sandbox.Environment[name] = "tcp://10.0.0.1:9090";

        Assert.Equal(new DaemonOptions(), _sandbox.Load());
    }
}
