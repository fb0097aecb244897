using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// The proxy that the environment names for an upstream: HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, as
/// curl reads them. The lower-case names come first.
/// </summary>
internal sealed class UpstreamProxy : IWebProxy
{
    private static readonly string[] s_schemes = ["http", "https", "socks4", "socks4a", "socks5"];

    private readonly Uri _proxy;

    private UpstreamProxy(Uri proxy, string variable)
    {
        _proxy = proxy;
        Variable = variable;
        if (proxy.UserInfo is not { Length: > 0 } userInfo)
            return;
        var parts = userInfo.Split(':', 2);
        Credentials = new NameAndPassword(new NetworkCredential(
            Uri.UnescapeDataString(parts[0]), Uri.UnescapeDataString(parts.ElementAtOrDefault(1) ?? "")));
    }

    /// <summary>The variable that names it, for the log.</summary>
    public string Variable { get; }

    /// <summary>Its address without name and password, for the log.</summary>
    public string Address => $"{_proxy.Scheme}://{_proxy.Authority}";

    public ICredentials? Credentials { get; set; }

    public Uri GetProxy(Uri destination) => _proxy;

    /// <summary>Never: <see cref="Find"/> has already looked at the one upstream.</summary>
    public bool IsBypassed(Uri host) => false;

    /// <summary>Finds the proxy for an upstream.</summary>
    /// <param name="upstream">The upstream's address, http or https.</param>
    /// <param name="environment">Reads a variable; null if it is not set.</param>
    /// <param name="proxy">Null if the upstream is reached without one.</param>
    /// <returns>What is wrong with the variable that counts, or null. It never quotes the value, which may
    /// hold a password.</returns>
    public static string? Find(Uri upstream, Func<string, string?> environment, out UpstreamProxy? proxy)
    {
        proxy = null;
        if (IsLoopback(upstream) || IsExcepted(upstream, First(environment, ["no_proxy"]).Value))
            return null;
        var (variable, value) = First(environment, [upstream.Scheme + "_proxy", "all_proxy"]);
        if (variable is null)
            return null;
        if (!TryParse(value, out var uri))
            return $"{variable} is not the address of a proxy, as in http://proxy.example:3128";
        proxy = new UpstreamProxy(uri, variable);
        return null;
    }

    /// <summary>The first that is set and not empty; each name in lower and in upper case.</summary>
    private static (string? Name, string Value) First(Func<string, string?> environment, string[] names)
    {
        foreach (var lower in names)
        {
            foreach (var name in (string[])[lower, lower.ToUpperInvariant()])
            {
                if (environment(name)?.Trim() is { Length: > 0 } value)
                    return (name, value);
            }
        }

        return (null, "");
    }

    private static bool TryParse(string value, [NotNullWhen(true)] out Uri? proxy)
    {
        var text = value.Contains("://", StringComparison.Ordinal) ? value : "http://" + value;
        // With socks5 too, the proxy resolves the names.
        text = text.StartsWith("socks5h:", StringComparison.OrdinalIgnoreCase) ? "socks5:" + text[8..] : text;
        return Uri.TryCreate(text, UriKind.Absolute, out proxy)
            && s_schemes.Contains(proxy.Scheme) && proxy.Host.Length > 0;
    }

    private static bool IsLoopback(Uri upstream)
    {
        var host = upstream.IdnHost.TrimEnd('.');
        return upstream.IsLoopback || host.EndsWith(".localhost", StringComparison.OrdinalIgnoreCase)
            || (IPAddress.TryParse(host, out var address) && (IPAddress.IsLoopback(address)
                || (address.IsIPv4MappedToIPv6 && IPAddress.IsLoopback(address.MapToIPv4()))
                || address.Equals(IPAddress.Any) || address.Equals(IPAddress.IPv6Any)));
    }

    private static bool IsExcepted(Uri upstream, string exceptions)
    {
        var host = upstream.IdnHost.TrimEnd('.');
        var address = IPAddress.TryParse(host, out var parsed) ? parsed : null;
        foreach (var entry in exceptions.Split([',', ' ', '\t', ';'], StringSplitOptions.RemoveEmptyEntries))
        {
            if (Matches(entry, host, address, upstream.Port))
                return true;
        }

        return false;
    }

    /// <summary>An entry is <c>*</c>, a host with its subdomains, an address or a network, perhaps with a
    /// port.</summary>
    private static bool Matches(string entry, string host, IPAddress? address, int port)
    {
        if (entry == "*")
            return true;
        if (address is not null && IPNetwork.TryParse(entry, out var network))
            return network.Contains(address);
        if (IPAddress.TryParse(entry, out var excepted))
            return excepted.Equals(address);
        var colon = entry.LastIndexOf(':');
        if (colon > 0 && int.TryParse(entry.AsSpan(colon + 1), out var excludedPort))
        {
            return excludedPort == port
                && Matches(entry[..colon].Trim('[', ']'), host, address, port);
        }

        var domain = entry.TrimStart('*').Trim('.');
        return domain.Length > 0 && host.EndsWith(domain, StringComparison.OrdinalIgnoreCase)
            && (host.Length == domain.Length || host[^(domain.Length + 1)] == '.');
    }

    /// <summary>Not for Negotiate and NTLM, which the HTTP client tries first: they need a ticket or a
    /// domain, and a system library. If a proxy of a Windows domain offers them, Basic would never have its
    /// turn.</summary>
    private sealed class NameAndPassword(NetworkCredential credential) : ICredentials
    {
        public NetworkCredential? GetCredential(Uri uri, string authType) =>
            authType.Equals("Negotiate", StringComparison.OrdinalIgnoreCase)
            || authType.Equals("NTLM", StringComparison.OrdinalIgnoreCase) ? null : credential;
    }
}
