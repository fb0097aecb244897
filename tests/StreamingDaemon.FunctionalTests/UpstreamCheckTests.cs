using System.Net;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary><c>check --upstream</c> against servers that answer, and servers that do not.</summary>
public sealed class UpstreamCheckTests
{
    private const string Key = "sk-secret-of-the-test";

    [Theory]
    [InlineData(FakeLlmTransport.Http1, "none: the address is http", "HTTP/1.1")]
    [InlineData(FakeLlmTransport.H2c, "none: the address is http", "HTTP/2")]
    [InlineData(FakeLlmTransport.Http2Tls, "TLS 1.3, certificate of localhost by localhost, until ", "HTTP/2")]
    public async Task Upstream_that_answers_is_described_step_by_step(
        FakeLlmTransport transport, string tls, string http)
    {
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        var environment = upstream.OpenAIEnvironment(transport != FakeLlmTransport.Http1);

        var (exitCode, lines) = await CheckAsync(environment);

        var base_ = upstream.BaseAddress;
        Assert.Equal("ok", lines["upstream address"].Status);
        Assert.Matches($@"^[0-9a-f.:\[\]]+:{base_.Port} answers for {base_}/chat/completions$",
            lines["upstream address"].Detail);
        Assert.DoesNotContain("ffff", lines["upstream address"].Detail, StringComparison.Ordinal);
        Assert.Equal(("ok", "none"), lines["upstream proxy"]);
        Assert.StartsWith(tls, lines["upstream TLS"].Detail, StringComparison.Ordinal);
        Assert.Equal(("ok", http), lines["upstream HTTP"]);
        Assert.Equal(("ok", "200"), lines["upstream status"]);
        Assert.Matches("^after [0-9]+ ms, from model gpt-4o-mini$", lines["upstream first token"].Detail);
        Assert.Equal(("ok", "of an unknown kind"), lines["upstream server"]);
        Assert.Equal(0, exitCode);
        using var asked = JsonDocument.Parse(Assert.Single(upstream.Requests).Body);
        Assert.Equal(1, asked.RootElement.GetProperty("max_tokens").GetInt32());
        Assert.True(asked.RootElement.GetProperty("stream").GetBoolean());
    }

    [Theory]
    [InlineData(FakeLlmTransport.Http1, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.H2c, "HTTP/2")]
    [InlineData(FakeLlmTransport.Http1Tls, "HTTP/1.1")]
    [InlineData(FakeLlmTransport.Http2Tls, "HTTP/2")]
    public async Task Version_that_is_not_configured_is_found_out(FakeLlmTransport transport, string http)
    {
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        var environment = upstream.OpenAIEnvironment(true);
        environment.Remove("OPENAI_HTTP2_ENABLED");

        var (exitCode, lines) = await CheckAsync(environment);

        Assert.Equal(("ok", http), lines["upstream HTTP"]);
        Assert.Equal("ok", lines["upstream first token"].Status);
        Assert.Equal(0, exitCode);
        Assert.Single(upstream.Requests);
    }

    [Theory]
    [InlineData(FakeLlmTransport.Http1, "HTTP_PROXY", "http", "none: the address is http")]
    [InlineData(FakeLlmTransport.Http2Tls, "HTTPS_PROXY", "https", "TLS 1.3, certificate of localhost")]
    public async Task Proxy_is_named_and_used(FakeLlmTransport transport, string variable, string scheme, string tls)
    {
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        await using var proxy = new FakeProxy(upstream.BaseAddress.Port);
        var environment = upstream.OpenAIEnvironment(true);
        environment.Remove("OPENAI_HTTP2_ENABLED");
        environment["OPENAI_API_BASE"] = scheme + "://llm.example/v1";
        environment[variable] = "http://" + proxy.Authority;

        var (exitCode, lines) = await CheckAsync(environment);

        Assert.Equal(("ok", "goes through " + proxy.Authority), lines["upstream proxy"]);
        Assert.StartsWith(tls, lines["upstream TLS"].Detail, StringComparison.Ordinal);
        Assert.Equal("ok", lines["upstream first token"].Status);
        Assert.Equal(0, exitCode);
        Assert.NotEmpty(proxy.RequestLines);
    }

    [Theory]
    [InlineData(407, "HTTP 407")]
    [InlineData(403, "HTTP 403")]
    [InlineData(0, "within 700 ms")]
    public async Task Proxy_that_opens_no_tunnel_is_what_is_blamed(int refusal, string what)
    {
        using var silent = new System.Net.Sockets.TcpListener(System.Net.IPAddress.Loopback, 0);
        silent.Start();
        await using var proxy = new FakeProxy(1, refusal);
        var authority = refusal == 0 ? silent.LocalEndpoint.ToString() : proxy.Authority;
        var environment = new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "none",
            ["OPENAI_API_BASE"] = "https://llm.example/v1",
            ["HTTPS_PROXY"] = "http://" + authority,
            ["STREAMING_DAEMON_TIMEOUTS__CONNECT_TIMEOUT_MS"] = "700",
        };

        var (exitCode, lines) = await CheckAsync(environment);

        var (status, detail) = lines["upstream proxy"];
        Assert.Equal("failed", status);
        Assert.Contains(what, detail, StringComparison.Ordinal);
        Assert.Contains($"The proxy {authority} takes connections, and opens none to llm.example. Does it want a name",
            detail, StringComparison.Ordinal);
        Assert.DoesNotContain("upstream TLS", lines.Keys);
        Assert.Equal(1, exitCode);
    }

    [Fact]
    public async Task Certificate_that_the_ca_file_vouches_for_is_trusted_and_one_of_another_is_not()
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        await using var other = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("ca.pem"), upstream.CertificatePem);
        var environment = upstream.OpenAIEnvironment(true);
        environment.Remove("OPENAI_INSECURE_SSL");
        environment["OPENAI_CA_FILE"] = directory.File("ca.pem");

        var (exitCode, lines) = await CheckAsync(environment);
        environment["OPENAI_API_BASE"] = other.BaseAddress.ToString();
        var (otherExitCode, otherLines) = await CheckAsync(environment);

        Assert.Equal("ok", lines["upstream TLS"].Status);
        Assert.Equal("ok", lines["upstream first token"].Status);
        Assert.Equal(0, exitCode);
        Assert.Equal("failed", otherLines["upstream TLS"].Status);
        Assert.Contains("ca.pem (OPENAI_CA_FILE) holds no certificate of its chain",
            otherLines["upstream TLS"].Detail, StringComparison.Ordinal);
        Assert.Equal(1, otherExitCode);
    }

    [Theory]
    [InlineData("openai-processing-ms: 12", null, "looks like OpenAI")]
    [InlineData("x-ms-region: West Europe", null, "looks like Azure")]
    [InlineData("Server: llama.cpp", null, "looks like llama.cpp")]
    [InlineData("Server: uvicorn", "vllm", "looks like vLLM")]
    [InlineData("", "library", "looks like Ollama")]
    [InlineData("", "llamacpp", "looks like llama.cpp")]
    [InlineData("", "organization_owner", "looks like LM Studio")]
    [InlineData("x-litellm-call-id: 1", "openai", "looks like LiteLLM")]
    [InlineData("", "somebody", "of an unknown kind")]
    public async Task Server_is_known_by_its_headers_or_by_the_owner_of_its_models(
        string header, string? owner, string kind)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        var answer = upstream.Scenario;
        upstream.Scenario = exchange =>
        {
            if (header.Split(": ") is [var name, var value])
                exchange.Context.Response.Headers[name] = value;
            return answer(exchange);
        };
        if (owner is not null)
            upstream.Models = $$"""{"object":"list","data":[{"id":"m","owned_by":"{{owner}}"}]}""";

        var (_, lines) = await CheckAsync(upstream.OpenAIEnvironment(false));

        Assert.Equal(("ok", kind), lines["upstream server"]);
    }

    [Theory]
    [InlineData(401, "{}", "status", "The key in OPENAI_API_KEY is wrong, or no longer valid")]
    [InlineData(403, "{}", "status", "The key lacks the permission")]
    [InlineData(404, "{}", "status", "Does the server have the model gpt-4o-mini (OPENAI_MODEL)?")]
    [InlineData(429, """{"error":{"code":"insufficient_quota"}}""", "status", "insufficient_quota")]
    [InlineData(307, "", "status", "Set OPENAI_API_BASE to the address that it redirects to")]
    [InlineData(402, "{}", "status", "The account has no credit left")]
    [InlineData(405, "{}", "status", "Does http")]
    [InlineData(500, "{}", "status", "Its log says why")]
    [InlineData(200, "<html>", "status", "It must end with the version (/v1)")]
    [InlineData(200, """{"error":{"code":"no_worker"}}""", "status", "under HTTP 200 (no_worker). Its log says why")]
    public async Task Refusal_of_the_upstream_fails_at_its_status_and_says_how_to_fix_it(
        int status, string body, string step, string fix)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        upstream.Scenario = exchange => exchange.RespondAsync(
            status, body.StartsWith('{') ? "application/json" : "text/html", body);

        var (exitCode, lines) = await CheckAsync(upstream.OpenAIEnvironment(false));

        Assert.Equal("failed", lines["upstream " + step].Status);
        Assert.Contains(fix, lines["upstream " + step].Detail, StringComparison.Ordinal);
        Assert.Equal("ok", lines["upstream HTTP"].Status);
        Assert.Equal(1, exitCode);
    }

    [Fact]
    public async Task Server_of_another_protocol_fails_at_HTTP_and_says_so()
    {
        await using var server = new BrokenServer(BrokenServerKind.Garbage);

        var (exitCode, lines) = await CheckAsync(Environment(server.BaseAddress().ToString()));

        Assert.Equal("failed", lines["upstream HTTP"].Status);
        Assert.Contains("Does another service listen there?", lines["upstream HTTP"].Detail, StringComparison.Ordinal);
        Assert.DoesNotContain(FakeLlmFaults.Secret, lines["upstream HTTP"].Detail, StringComparison.Ordinal);
        Assert.Equal(1, exitCode);
    }

    [Fact]
    public async Task Model_that_is_not_there_is_answered_with_those_that_are()
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        upstream.Scenario = exchange => exchange.RespondAsync(404, "application/json", "{}");
        upstream.Models = $$"""{"data":[{"id":"llama3:8b"},{"id":"{{Key}}"},{"id":"two words"},{"id":"a/b"}]}""";

        var (_, lines) = await CheckAsync(upstream.OpenAIEnvironment(false));

        Assert.Equal(("ok", "llama3:8b, a/b"), lines["upstream models"]);
    }

    [Fact]
    public async Task Refused_connection_unknown_name_and_unknown_issuer_fail_at_their_step()
    {
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        var port = ((IPEndPoint)listener.LocalEndpoint).Port;
        listener.Stop();
        var (exitCode, lines) = await CheckAsync(Environment($"http://127.0.0.1:{port}/v1"));
        Assert.Equal(1, exitCode);
        Assert.Equal("failed", lines["upstream address"].Status);
        Assert.Contains($"is http://127.0.0.1:{port}/v1 (OPENAI_API_BASE) its address?",
            lines["upstream address"].Detail, StringComparison.Ordinal);

        (_, lines) = await CheckAsync(Environment("http://no-such-host.invalid/v1"));
        Assert.Equal("failed", lines["upstream address"].Status);
        Assert.Contains("DNS does not know the name", lines["upstream address"].Detail, StringComparison.Ordinal);

        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http2Tls);
        (_, lines) = await CheckAsync(Environment(upstream.BaseAddress.ToString()));
        Assert.Equal("ok", lines["upstream address"].Status);
        Assert.Equal("failed", lines["upstream TLS"].Status);
        Assert.Contains("The certificate is of localhost, by localhost: its issuer is not trusted",
            lines["upstream TLS"].Detail, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("data: {\"choices\":[{\"delta\":{\"content\":\"\"},\"finish_reason\":\"length\"}]}\n\n")]
    [InlineData("data: {\"choices\":[{\"delta\":{\"content\":\"\\n\"},\"finish_reason\":\"length\"}]}\n\n")]
    public async Task Model_that_spends_its_one_token_on_nothing_to_show_is_asked_without_a_limit(string answer)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        upstream.Scenario = async exchange =>
        {
            await exchange.StartAsync();
            var isLimited = exchange.Request.Body.Contains("max_tokens", StringComparison.Ordinal);
            await exchange.SendRawAsync(isLimited ? answer : answer.Replace("\"content\":\"", "\"content\":\"Hi", StringComparison.Ordinal));
        };

        var (exitCode, lines) = await CheckAsync(upstream.OpenAIEnvironment(false));

        Assert.Equal("ok", lines["upstream first token"].Status);
        Assert.Equal((0, 2), (exitCode, upstream.Requests.Count));
    }

    [Theory]
    [InlineData(500)]
    [InlineData(422)]
    public async Task Server_that_does_not_know_max_tokens_is_asked_without_it(int status)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        var answer = upstream.Scenario;
        upstream.Scenario = exchange => exchange.Request.Body.Contains("max_tokens", StringComparison.Ordinal)
            ? exchange.RespondAsync(status, "text/plain", "unknown parameter")
            : answer(exchange);

        var (exitCode, lines) = await CheckAsync(upstream.OpenAIEnvironment(false));

        Assert.Equal(("ok", "200"), lines["upstream status"]);
        Assert.Equal("ok", lines["upstream first token"].Status);
        Assert.Equal((0, 2), (exitCode, upstream.Requests.Count));
    }

    [Theory]
    [InlineData(false, "Does it want a client certificate (OPENAI_CLIENT_CERT_FILE)?")]
    [InlineData(true, "client.pem (OPENAI_CLIENT_CERT_FILE), and does that file hold the CAs below the root?")]
    public async Task Server_that_hangs_up_after_the_handshake_is_asked_about_client_certificates(bool isShown, string hint)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1Tls);
        upstream.Scenario = exchange =>
        {
            exchange.Context.Abort();
            return Task.CompletedTask;
        };
        using var directory = new TempDirectory();
        var environment = upstream.OpenAIEnvironment(false);
        if (isShown)
            environment["OPENAI_CLIENT_CERT_FILE"] = WriteCertificate(directory, TimeSpan.FromDays(-1), TimeSpan.FromDays(9));

        var (exitCode, lines) = await CheckAsync(environment);

        Assert.Equal("failed", lines["upstream HTTP"].Status);
        Assert.Contains(hint, lines["upstream HTTP"].Detail, StringComparison.Ordinal);
        Assert.Equal(1, exitCode);
    }

    [Theory]
    [InlineData(-9, -1, "expired on 2")]
    [InlineData(1, 9, "is valid only from 2")]
    public async Task Client_certificate_out_of_its_time_is_named_by_check_start_and_probe(int from, int to, string words)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1Tls);
        upstream.Scenario = exchange => exchange.RespondAsync(400, "text/html", "<html>The SSL certificate error</html>");
        using var directory = new TempDirectory();
        var environment = upstream.OpenAIEnvironment(false);
        var path = WriteCertificate(directory, TimeSpan.FromDays(from), TimeSpan.FromDays(to));
        environment["OPENAI_CLIENT_CERT_FILE"] = path;

        var (exitCode, lines) = await CheckAsync(environment);
        var (checkCode, table, _) = await DaemonProcess.RunAsync(environment, "check", "--backend", "openai", "--socket",
            "/tmp/no-such-socket");
        await using var daemon = await DaemonProcess.StartAsync(environment, true, "--backend", "openai");

        Assert.Contains($"the certificate in {path} {words}", lines["upstream status"].Detail, StringComparison.Ordinal);
        Assert.Matches($"(?m)^warning  client certificate +OPENAI_CLIENT_CERT_FILE: the certificate in {path} {words}", table);
        Assert.Equal((1, 0), (exitCode, checkCode));
        Assert.Contains($"{path} {words}", Assert.Single(daemon.LogLines("BackendWarning")), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Https_address_of_a_server_without_TLS_fails_at_TLS_and_says_so()
    {
        await using var server = new BrokenServer(BrokenServerKind.Mute);
        var environment = Environment(server.BaseAddress("https").ToString());
        environment["STREAMING_DAEMON_TIMEOUTS__CONNECT_TIMEOUT_MS"] = "5000";

        var (_, lines) = await CheckAsync(environment);

        Assert.Equal("failed", lines["upstream TLS"].Status);
        Assert.Contains("Does the server speak TLS on this port?", lines["upstream TLS"].Detail, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Silent_upstream_fails_at_the_first_token_after_its_timeouts()
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        upstream.Scenario = exchange => exchange.WaitForAbortAsync(TestClient.Patience);
        var environment = upstream.OpenAIEnvironment(false);
        environment["STREAMING_DAEMON_TIMEOUTS__CONNECT_TIMEOUT_MS"] = "500";
        environment["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "500";

        var (exitCode, lines) = await CheckAsync(environment);

        Assert.Equal("failed", lines["upstream first token"].Status);
        Assert.Contains("Is it loading the model", lines["upstream first token"].Detail, StringComparison.Ordinal);
        Assert.Equal(1, exitCode);
    }

    [Theory]
    [InlineData(200, 0, "The upstream answers.")]
    [InlineData(500, 1, "The upstream does not answer as it should: requests would fail.")]
    public async Task Table_has_one_line_a_step_and_ends_with_a_verdict(int status, int exitCode, string verdict)
    {
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.Http1);
        if (status != 200)
            upstream.Scenario = exchange => exchange.RespondAsync(status, "text/plain", "no");

        var (code, table, _) = await DaemonProcess.RunAsync(upstream.OpenAIEnvironment(false), "check",
            "--upstream", "--backend", "openai", "--socket", "/tmp/no-such-socket");

        Assert.Equal(exitCode, code);
        Assert.Matches("(?m)^ok       upstream HTTP +HTTP/1.1$", table);
        Assert.EndsWith($"The daemon would start.\n{verdict}\n", table, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Backend_that_asks_no_server_is_a_failure()
    {
        var (exitCode, text, _) = await DaemonProcess.RunAsync("check", "--upstream", "--json", "--socket",
            "/tmp/no-such-socket");

        using var report = JsonDocument.Parse(text);
        var finding = report.RootElement.GetProperty("checks").EnumerateArray()
            .Single(check => check.GetProperty("name").GetString() == "upstream");
        Assert.Equal("failed", finding.GetProperty("status").GetString());
        Assert.Equal(1, exitCode);
    }

    private static string WriteCertificate(TempDirectory directory, TimeSpan from, TimeSpan to)
    {
        using var certificate = SelfSignedCertificate.Create(from, to);
        using var key = certificate.GetECDsaPrivateKey()!;
        var path = directory.File("client.pem");
        File.WriteAllText(path, key.ExportPkcs8PrivateKeyPem() + "\n" + certificate.ExportCertificatePem());
        return path;
    }

    private static Dictionary<string, string> Environment(string apiBase) => new()
    {
        ["OPENAI_API_BASE"] = apiBase,
        ["OPENAI_API_KEY"] = Key,
        ["OPENAI_HTTP2_ENABLED"] = "false",
    };

    /// <summary>The exit code, and the findings about the upstream by their names.</summary>
    private static async Task<(int ExitCode, Dictionary<string, (string Status, string Detail)> Findings)>
        CheckAsync(Dictionary<string, string> environment)
    {
        var (exitCode, output, error) = await DaemonProcess.RunAsync(
            environment, "check", "--upstream", "--json", "--backend", "openai", "--socket", "/tmp/no-such-socket");
        Assert.DoesNotContain("sk-secret", output + error, StringComparison.Ordinal);
        using var report = JsonDocument.Parse(output);
        return (exitCode, report.RootElement.GetProperty("checks").EnumerateArray()
            .Where(check => Text(check, "name").StartsWith("upstream", StringComparison.Ordinal))
            .ToDictionary(check => Text(check, "name"), check => (Text(check, "status"), Text(check, "detail"))));
    }

    private static string Text(JsonElement check, string name) => check.GetProperty(name).GetString()!;
}
