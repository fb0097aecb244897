using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Options of the OpenAI backend: any server that speaks <c>/chat/completions</c>.</summary>
public sealed record OpenAIOptions
{
    /// <summary>OPENAI_API_KEY, or the content of <see cref="ApiKeyFile"/>. Required on https; may be empty
    /// on http.</summary>
    public required string ApiKey { get; init; }

    /// <summary>OPENAI_API_KEY_FILE: the file that <see cref="ApiKey"/> comes from, or null.</summary>
    public string? ApiKeyFile { get; init; }

    /// <summary>OPENAI_AUTH: <c>bearer</c>, or <c>api-key</c> for the header of that name.</summary>
    public string Auth { get; init; } = "bearer";

    /// <summary>OPENAI_API_BASE, with the version segment, as in the official API. It may name the endpoint
    /// itself, and have a query.</summary>
    public Uri ApiBase { get; init; } = new("https://api.openai.com/v1");

    /// <summary>OPENAI_API_SOCKET: path of a Unix socket that reaches the API, or null.</summary>
    public string? ApiSocket { get; init; }

    /// <summary>OPENAI_MODEL: the model for requests that name none.</summary>
    public string Model { get; init; } = "gpt-4o-mini";

    /// <summary>OPENAI_HTTP2_ENABLED: ALPN on https, prior knowledge on http; false is HTTP/1.1. Null: ALPN
    /// on https; on http the server is tried once.</summary>
    public bool? Http2Enabled { get; init; }

    /// <summary>OPENAI_INSECURE_SSL: accept any certificate. For development only.</summary>
    public bool InsecureSsl { get; init; }

    /// <summary>OPENAI_CA_FILE: certificates (PEM) that the API's must lead to, instead of the system's;
    /// null: the system's.</summary>
    public string? CaFile { get; init; }

    /// <summary>OPENAI_CLIENT_CERT_FILE: the certificate (PEM) that the daemon shows; null: none.</summary>
    public string? ClientCertFile { get; init; }

    /// <summary>OPENAI_CLIENT_KEY_FILE: its key (PEM); null if the certificate's file holds it.</summary>
    public string? ClientKeyFile { get; init; }

    /// <summary>What is in <see cref="CaFile"/>; null: the backend reads it.</summary>
    internal string? CaPem { get; init; }

    /// <summary>What is in <see cref="ClientCertFile"/>; null: the backend reads it.</summary>
    internal string? ClientCertPem { get; init; }

    /// <summary>What is in <see cref="ClientKeyFile"/>; null: the backend reads it.</summary>
    internal string? ClientKeyPem { get; init; }

    /// <summary>OPENAI_MAX_RETRIES: retries after an attempt that failed before it had an answer, 0 to
    /// 10.</summary>
    public int MaxRetries { get; init; } = 2;

    /// <summary>OPENAI_PASS_UNKNOWN: send handoff fields that the daemon does not know as parameters of the
    /// request.</summary>
    public bool PassUnknown { get; init; }

    /// <summary>Time limit for connecting to the upstream, milliseconds.</summary>
    public int ConnectTimeoutMs { get; init; } = 10_000;

    /// <summary>Longest event (one SSE line) accepted from the upstream, bytes.</summary>
    public int MaxEventBytes { get; init; } = 1 << 20;

    /// <summary>Reads a variable of the environment: the proxy's.</summary>
    internal Func<string, string?> Environment { get; init; } = System.Environment.GetEnvironmentVariable;

    /// <summary>Finds the addresses of a host; null for the system's resolver.</summary>
    internal Dialer.Resolver? Resolve { get; init; }

    /// <summary>Servers on http are mostly the operator's own, and most of them have no keys.</summary>
    internal bool NeedsKey => ApiBase.Scheme == Uri.UriSchemeHttps;

    internal UpstreamTlsFiles TlsFiles => new(CaFile, ClientCertFile, ClientKeyFile)
    {
        CaPem = CaPem,
        ClientCertificatePem = ClientCertPem,
        ClientKeyPem = ClientKeyPem,
    };
}
