using System.Globalization;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The backend "openai".</summary>
public sealed class OpenAIDescriptor : BackendDescriptor<OpenAIOptions>
{
    private static readonly BackendOption<string> s_key = Named("api_key", new SecretValue(),
        o => o.ApiKey, (o, v) => o with { ApiKey = v },
        "API key; backend openai needs one, except on http",
        "Better in a file of its own (api_key_file) or in the environment than in the configuration "
        + "file.") with
    {
        Reloadable = true,
        ChoosesBackend = true,
    };

    private static readonly BackendOption<string?> s_keyFile = Named("api_key_file", new SecretFileValue(),
        o => o.ApiKeyFile, (o, v) => o with { ApiKeyFile = v },
        "File that holds the API key and nothing else, instead of api_key",
        "Also read again when the upstream answers 401, so a new key needs no restart. With systemd, "
        + "$CREDENTIALS_DIRECTORY/NAME is the credential NAME of the unit.") with
    {
        Reloadable = true,
        ChoosesBackend = true,
    };

    private static readonly BackendOption<string?> s_ca = NamedFile("ca_file",
        o => o.CaFile, (o, v) => o with { CaFile = v },
        "CA certificates (PEM) to trust for the API, roots or intermediates; empty trusts the system's",
        "If set, the system's are not trusted. New connections use a new file within ten seconds.");

    private static readonly BackendOption<string?> s_clientCertificate = NamedFile("client_cert_file",
        o => o.ClientCertFile, (o, v) => o with { ClientCertFile = v },
        "Client certificate (PEM) with its chain, for APIs with mutual TLS; empty is none",
        "New connections use a new file within ten seconds.");

    private static readonly BackendOption<string?> s_clientKey = NamedFile("client_key_file",
        o => o.ClientKeyFile, (o, v) => o with { ClientKeyFile = v },
        "Private key (PEM, not encrypted) of client_cert_file; empty if that file holds it too",
        "The daemon's user must be able to read it. New connections use a new file within ten seconds.");

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
            "Azure accepts keys only in the header api-key."),
        Named("api_base", new UrlValue(), o => o.ApiBase, (o, v) => o with { ApiBase = v },
            "Base URL of the API, with its version segment",
            "Any server that offers /chat/completions works. The URL may end with that, or with another "
            + "endpoint of the API, and may have a query.") with
        {
            ChoosesBackend = true,
        },
        Named("model", new NameValue("the name of a model"), o => o.Model, (o, v) => o with { Model = v },
            "Model to use if the handoff names none",
            "The handoff's model overrides it."),
        Named("api_socket", new SocketPathValue(), o => o.ApiSocket, (o, v) => o with { ApiSocket = v },
            "Unix socket to reach the API through; empty is TCP",
            "For a proxy on the same host: no TCP ports and no TCP handshake."),
        Named("http2_enabled", new AutoSwitchValue(),
            o => o.Http2Enabled, (o, v) => o with { Http2Enabled = v },
            "Use HTTP/2; auto negotiates it on https, and on http tries it once and falls back to HTTP/1.1",
            "With false, each stream takes a connection. true on http is for servers with HTTP/2 only."),
        Named("insecure_ssl", new SwitchValue(), o => o.InsecureSsl, (o, v) => o with { InsecureSsl = v },
            "Accept any certificate of the upstream",
            "For development only: anyone on the network path can read the key and the answers."),
        s_ca,
        s_clientCertificate,
        s_clientKey,
        Named("max_retries", new IntegerValue(0, 10), o => o.MaxRetries, (o, v) => o with { MaxRetries = v },
            "Most retries of a request that failed before its answer: no connection, 408, 409, 429, 5xx",
            "Only within streaming.head_wait_ms, or 1 s if that is 0. The provider may bill each try."),
        Named("pass_unknown", new SwitchValue(), o => o.PassUnknown, (o, v) => o with { PassUnknown = v },
            "Send handoff fields that the daemon does not know to the API as parameters",
            "For servers with their own parameters, such as top_k. The official API refuses unknown ones."),
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
    protected override string? Warn(OpenAIOptions options) => options.ClientCertFile is null ? null
        : CertificateWarning(new UpstreamTls(options.TlsFiles, options.InsecureSsl));

    /// <inheritdoc/>
    protected override OpenAIOptions WithLimits(OpenAIOptions options, BackendLimits limits) =>
        options with { ConnectTimeoutMs = limits.ConnectTimeoutMs, MaxEventBytes = limits.MaxEventBytes };

    /// <inheritdoc/>
    protected override IEnumerable<BackendCheck> Checks(OpenAIOptions options)
    {
        if (options.ClientCertFile is { } certificate)
            yield return CertificateCheck(options, certificate);
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

    private static BackendCheck CertificateCheck(OpenAIOptions options, string path) => new(
        "client certificate",
        () =>
        {
            var tls = new UpstreamTls(options.TlsFiles, options.InsecureSsl);
            return CertificateWarning(tls) is { } warning
                ? new BackendFinding(false, warning)
                : new BackendFinding(true, string.Create(CultureInfo.InvariantCulture,
                    $"OPENAI_CLIENT_CERT_FILE {path}: valid until {tls.ClientEnd:yyyy-MM-dd}"));
        },
        $"OPENAI_CLIENT_CERT_FILE {path}: this path's file system does not answer");

    private static string? CertificateWarning(UpstreamTls tls) =>
        tls.ClientProblem(DateTimeOffset.UtcNow) is { } problem
            ? $"OPENAI_CLIENT_CERT_FILE: {problem}: the API may refuse it"
            : null;

    private static string Warning(string problem) => $"OPENAI_API_SOCKET {problem}: requests would fail";
}
