using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The backend "openai".</summary>
public sealed class OpenAIDescriptor : BackendDescriptor<OpenAIOptions>
{
    private static readonly BackendOption<string> s_key = Named("api_key", new SecretValue(),
        o => o.ApiKey, (o, v) => o with { ApiKey = v },
        "Key of the API; required with backend openai, except on http",
        "Better in a file of its own (api_key_file), or in the environment, than in this file.") with
    {
        Reloadable = true,
        ChoosesBackend = true,
    };

    private static readonly BackendOption<string?> s_keyFile = Named("api_key_file", new SecretFileValue(),
        o => o.ApiKeyFile, (o, v) => o with { ApiKeyFile = v },
        "File that holds the key alone, instead of api_key",
        "Read again when the upstream answers 401, so a new key needs no restart. With systemd, "
        + "$CREDENTIALS_DIRECTORY/NAME is the credential NAME of the unit.") with
    {
        Reloadable = true,
        ChoosesBackend = true,
    };

    private static readonly BackendOption<string?> s_ca = NamedFile("ca_file",
        o => o.CaFile, (o, v) => o with { CaFile = v },
        "CA certificates (PEM) that the API's certificate must lead to, roots or not; empty is the system's",
        "The system's no longer count then. SIGHUP reads it again, for new connections.");

    private static readonly BackendOption<string?> s_clientCertificate = NamedFile("client_cert_file",
        o => o.ClientCertFile, (o, v) => o with { ClientCertFile = v },
        "Certificate (PEM) that the daemon shows to the API, with its chain; empty is none",
        "For APIs with mutual TLS. SIGHUP reads it again, for new connections.");

    private static readonly BackendOption<string?> s_clientKey = NamedFile("client_key_file",
        o => o.ClientKeyFile, (o, v) => o with { ClientKeyFile = v },
        "Key (PEM, not encrypted) of client_cert_file; empty if that file holds it too",
        "The daemon's user must be able to read it. SIGHUP reads it again, for new connections.");

    /// <inheritdoc/>
    public override string Name => "openai";

    /// <inheritdoc/>
    public override IReadOnlyList<SecretFileOption> SecretFiles { get; } = [new(s_keyFile, s_key)];

    /// <inheritdoc/>
    public override IReadOnlyList<FileOption> Files { get; } =
    [
        new(s_ca, Content(s_ca, o => o.CaPem, (o, v) => o with { CaPem = v })),
        new(s_clientCertificate,
            Content(s_clientCertificate, o => o.ClientCertPem, (o, v) => o with { ClientCertPem = v })),
        new(s_clientKey, Content(s_clientKey, o => o.ClientKeyPem, (o, v) => o with { ClientKeyPem = v })),
    ];

    /// <inheritdoc/>
    public override string Summary => "openai needs an API key, except on http.";

    /// <inheritdoc/>
    public override IReadOnlyList<BackendOption> Options { get; } =
    [
        s_key,
        s_keyFile,
        Named("auth", new ChoiceValue("bearer", "api-key"), o => o.Auth, (o, v) => o with { Auth = v },
            "How the key is sent: as a bearer token, or in the header api-key",
            "Azure takes its keys only in that header."),
        Named("api_base", new UrlValue(), o => o.ApiBase, (o, v) => o with { ApiBase = v },
            "Address of the API, with its version segment",
            "Any server that speaks /chat/completions will do. It may end with that, and have a query.") with
        {
            ChoosesBackend = true,
        },
        Named("model", new NameValue("the name of a model"), o => o.Model, (o, v) => o with { Model = v },
            "Model of a request that names none",
            "A request that names one decides for itself."),
        Named("api_socket", new SocketPathValue(), o => o.ApiSocket, (o, v) => o with { ApiSocket = v },
            "Unix socket through which the API is reached; empty is TCP",
            "Saves the TCP ports and the handshake if the API is a proxy on this host."),
        Named("http2_enabled", new AutoSwitchValue(),
            o => o.Http2Enabled, (o, v) => o with { Http2Enabled = v },
            "HTTP/2; auto negotiates it on https, and on http tries it once and falls back to HTTP/1.1",
            "false costs a connection a stream. true on http is for servers that speak nothing else."),
        Named("insecure_ssl", new SwitchValue(), o => o.InsecureSsl, (o, v) => o with { InsecureSsl = v },
            "Accept any certificate of the upstream",
            "For development only: anyone on the way can read the key and the answers."),
        s_ca,
        s_clientCertificate,
        s_clientKey,
        Named("max_retries", new IntegerValue(0, 10), o => o.MaxRetries, (o, v) => o with { MaxRetries = v },
            "Further attempts if one fails before it has an answer: no connection, 408, 409, 429, 5xx",
            "Within streaming.head_wait_ms, or 1 s if that is 0. What the upstream took may cost twice."),
        Named("pass_unknown", new SwitchValue(), o => o.PassUnknown, (o, v) => o with { PassUnknown = v },
            "Send handoff fields that are unknown to the daemon to the API as parameters",
            "For servers with parameters of their own (top_k). The official API refuses what it does not "
            + "know."),
    ];

    /// <inheritdoc/>
    protected override OpenAIOptions DefaultOptions { get; } = new() { ApiKey = "" };

    /// <inheritdoc/>
    protected override string? Validate(OpenAIOptions options)
    {
        if (options.NeedsKey && options.ApiKey.Length == 0)
            return "no API key. Set OPENAI_API_KEY or OPENAI_API_KEY_FILE";
        if (options.ApiSocket is null
            && UpstreamProxy.Find(options.ApiBase, options.Environment, out _) is { } problem)
        {
            return problem;
        }

        try
        {
            _ = new UpstreamTls(options.TlsFiles, options.InsecureSsl);
            return null;
        }
        catch (UpstreamTlsException exception)
        {
            return exception.File switch
            {
                UpstreamTlsFile.Ca => "OPENAI_CA_FILE ",
                UpstreamTlsFile.ClientCertificate => "OPENAI_CLIENT_CERT_FILE ",
                _ => "OPENAI_CLIENT_KEY_FILE ",
            } + exception.Message;
        }
    }

    /// <inheritdoc/>
    protected override OpenAIOptions WithLimits(OpenAIOptions options, BackendLimits limits) =>
        options with { ConnectTimeoutMs = limits.ConnectTimeoutMs, MaxEventBytes = limits.MaxEventBytes };

    /// <inheritdoc/>
    protected override IEnumerable<BackendCheck> Checks(OpenAIOptions options)
    {
        if (options.ApiSocket is not { } path)
            yield break;
        yield return new BackendCheck("upstream", () => UpstreamSocket.Check(path) is { } problem
            ? new BackendFinding(false, Warning(problem))
            : new BackendFinding(true, $"OPENAI_API_SOCKET {path}: a server listens"),
            // The same finding as for a socket whose server is gone.
            Warning($"{path}: this path's file system does not answer"));
    }

    /// <inheritdoc/>
    protected override Task<IReadOnlyList<UpstreamFinding>> ProbeAsync(
        OpenAIOptions options, CancellationToken cancellationToken) =>
        new OpenAIProbe(options).RunAsync(cancellationToken);

    /// <inheritdoc/>
    /// <remarks>HTTP/1.1 carries one stream a connection; most servers on http speak nothing else.</remarks>
    protected override int DescriptorsPerStream(OpenAIOptions options) =>
        options.Http2Enabled ?? options.ApiBase.Scheme == Uri.UriSchemeHttps ? 0 : 1;

    /// <inheritdoc/>
    protected override IStreamingBackend Create(OpenAIOptions options, BackendContext context) =>
        new OpenAIBackend(options, context);

    /// <summary>Each option has a variable that other programs for this API read too.</summary>
    private static BackendOption<T> Named<T>(string name, OptionValue<T> value, Func<OpenAIOptions, T> get,
        Func<OpenAIOptions, T, OpenAIOptions> set, string description, string cost) =>
        Option(name, value, get, set, description, cost) with
        {
            Variable = "OPENAI_" + name.ToUpperInvariant(),
        };

    private static BackendOption<string?> NamedFile(string name, Func<OpenAIOptions, string?> get,
        Func<OpenAIOptions, string?, OpenAIOptions> set, string description, string cost) =>
        Named(name, new FilePathValue(), get, set, description, cost) with { Reloadable = true };

    private static BackendOption<string?> Content(BackendOption<string?> file,
        Func<OpenAIOptions, string?> get, Func<OpenAIOptions, string?, OpenAIOptions> set) =>
        Named(file.Name, file.Value, get, set, file.Description, file.Cost);

    private static string Warning(string problem) => $"OPENAI_API_SOCKET {problem}: requests would fail";
}
