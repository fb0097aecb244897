using System.Net;
using System.Net.Security;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>Why a probe got no token: the step that failed, and how to fix it.</summary>
internal sealed class ProbeFailure(OpenAIOptions options, UpstreamTrace trace, BackendResult result)
{
    /// <summary>address, proxy, TLS, HTTP, status or first token.</summary>
    public string Step => result.Fault switch
    {
        UpstreamFault.Connect or UpstreamFault.ConnectTimeout when IsProxyWithoutTunnel => "proxy",
        UpstreamFault.Dns or UpstreamFault.Connect => "address",
        UpstreamFault.ConnectTimeout when trace.Address is null => "address",
        UpstreamFault.Tls or UpstreamFault.ConnectTimeout => "TLS",
        UpstreamFault.FirstTokenTimeout when trace.Host is not null && trace.Address is null => "address",
        UpstreamFault.Protocol or UpstreamFault.Reset => "HTTP",
        UpstreamFault.Unauthorized or UpstreamFault.RateLimited or UpstreamFault.ClientError
            or UpstreamFault.ServerError or UpstreamFault.Redirect or UpstreamFault.NotAStream => "status",
        _ => "first token",
    };

    /// <summary>The model may be what is wrong.</summary>
    public bool IsAboutModel => result.UpstreamStatus is 400 or 404;

    /// <summary>What is wrong, in the words of the log, and what to do.</summary>
    public string Detail
    {
        get
        {
            var what = result.Reason ?? "there was no answer";
            return Hint() is { } hint ? $"{what}. {hint}" : what;
        }
    }

    /// <summary>The host and port that stand between here and the upstream, or null.</summary>
    public static string? ProxyOf(OpenAIOptions options, UpstreamTrace trace) =>
        trace.Host is not { } host || options.ApiSocket is not null || IsUpstream(options, host)
            ? null : $"{host.Host}:{host.Port}";

    private static bool IsUpstream(OpenAIOptions options, DnsEndPoint host) =>
        host.Port == options.ApiBase.Port
        && host.Host.Trim('[', ']').Equals(options.ApiBase.IdnHost.Trim('[', ']'),
            StringComparison.OrdinalIgnoreCase);

    private string? Hint() => result.Fault switch
    {
        UpstreamFault.Dns => $"Look for a typo in {Base}; or this machine's DNS does not know the name",
        UpstreamFault.Connect or UpstreamFault.ConnectTimeout when IsProxyWithoutTunnel => ProxyHint(),
        UpstreamFault.Connect when options.ApiSocket is not null => "Is the server running?",
        UpstreamFault.Connect => $"Is the server running, and is {Base} its address? A firewall may refuse",
        UpstreamFault.ConnectTimeout when Step == "TLS" => TlsHint(),
        UpstreamFault.ConnectTimeout => $"A firewall drops the packets, or {Base} is not its address",
        UpstreamFault.Tls => TlsHint(),
        UpstreamFault.Reset when trace.Protocol is not null && options.ClientCertFile is { } certificate =>
            "Its log may say why. Does it accept the certificate in "
            + $"{certificate} (OPENAI_CLIENT_CERT_FILE), and does that file hold the CAs below the root?",
        UpstreamFault.Reset when trace.Protocol is not null =>
            "Its log may say why. Does it want a client certificate (OPENAI_CLIENT_CERT_FILE)? A proxy or a "
            + "firewall may cut the connection too",
        UpstreamFault.Reset => "Its log may say why. A proxy or a firewall may cut the connection",
        UpstreamFault.Unauthorized => KeyHint(),
        UpstreamFault.RateLimited => "The key is over its limit or its budget: see the provider's page",
        UpstreamFault.Redirect =>
            $"Set OPENAI_API_BASE to the address that it redirects to: {Base} is not it",
        UpstreamFault.Protocol => $"Does another service listen there? {Base} must lead to the API",
        UpstreamFault.NotAStream when IsErrorUnder200 => "Its log says why",
        UpstreamFault.NotAStream => $"Does {Base} lead to the API? It must end with the version (/v1)",
        UpstreamFault.ClientError when result.UpstreamStatus == 402 =>
            "The account has no credit left: see the provider's page",
        UpstreamFault.ClientError when result.UpstreamStatus == 405 =>
            $"Does {Base} lead to the API? It must end with the version (/v1)",
        UpstreamFault.ServerError => "Its log says why",
        UpstreamFault.ClientError when IsAboutModel =>
            $"Does {Base} end with the version, as in /v1? Does the server have the model {options.Model} "
            + "(OPENAI_MODEL)?",
        UpstreamFault.FirstTokenTimeout => "Is it loading the model, or overloaded? Its log may say",
        UpstreamFault.EmptyAnswer => $"Is {options.Model} (OPENAI_MODEL) a model for chats?",
        _ => null,
    };

    /// <summary>It answered as the API does, with an error.</summary>
    private bool IsErrorUnder200 =>
        result.Reason?.StartsWith(UpstreamFailures.ErrorUnder200, StringComparison.Ordinal) == true;

    private string Base => $"{OpenAIProbe.Shown(options.ApiBase)} (OPENAI_API_BASE)";

    private string KeyHint()
    {
        if (result.UpstreamStatus == 403)
            return "The key lacks the permission for this model or address";
        var source = options.ApiKeyFile is { } path ? $"{path} (OPENAI_API_KEY_FILE)" : "OPENAI_API_KEY";
        var isAzure = options.ApiBase.Host.EndsWith(".azure.com", StringComparison.OrdinalIgnoreCase)
            || ServerKind.OfHeaders(trace.Headers) == "Azure";
        return isAzure && options.Auth == "bearer"
            ? "Azure takes its keys only in the header api-key: set OPENAI_AUTH=api-key"
            : $"The key in {source} is wrong, or no longer valid";
    }

    /// <summary>A proxy took the connection, and the upstream was not heard through it.</summary>
    private bool IsProxyWithoutTunnel => trace is { Address: not null, Protocol: null, Certificate: null }
        && ProxyOf(options, trace) is not null;

    private string ProxyHint() =>
        $"The proxy {ProxyOf(options, trace)} takes connections, and opens none to {options.ApiBase.Host}. "
        + "Does it want a name and a password, as in http://NAME:PASSWORD@HOST:PORT? If it is not meant for "
        + "this host, name the host in NO_PROXY";

    private string TlsHint()
    {
        if (trace.Certificate is not var (name, issuer, notAfter))
            return $"Does the server speak TLS on this port? If not, {Base} begins with http";
        var wrong = (trace.CertificateErrors & SslPolicyErrors.RemoteCertificateNameMismatch) != 0
            ? $"it is not for {options.ApiBase.Host}"
            : notAfter < DateTime.UtcNow ? $"it expired on {notAfter:yyyy-MM-dd}"
            : options.CaFile is { } ca
                ? $"{ca} (OPENAI_CA_FILE) holds no certificate of its chain, "
                    + "or the server leaves out one below it"
            : "its issuer is not trusted: install that CA on this machine";
        return $"The certificate is of {name}, by {issuer}: {wrong}";
    }
}
