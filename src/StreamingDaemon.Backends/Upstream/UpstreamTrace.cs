using System.Net;
using System.Net.Http;
using System.Net.Http.Headers;
using System.Net.Security;
using System.Net.Sockets;
using System.Security.Cryptography.X509Certificates;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>What the last connection to an upstream and its answer were like, for <c>check --upstream</c>.
/// One request at a time.</summary>
internal sealed class UpstreamTrace
{
    /// <summary>The host that was connected to: the upstream's, or a proxy's. Null if none was tried.
    /// </summary>
    public DnsEndPoint? Host { get; private set; }

    /// <summary>The address that answered; null if none did.</summary>
    public EndPoint? Address { get; private set; }

    /// <summary>Such as "TLS 1.3"; null without TLS, or if its handshake failed.</summary>
    public string? Protocol { get; private set; }

    /// <summary>The certificate's name, its issuer's, and its last day; null if none came.</summary>
    public (string Name, string Issuer, DateTime NotAfter)? Certificate { get; private set; }

    /// <summary>What is wrong with the certificate.</summary>
    public SslPolicyErrors CertificateErrors { get; private set; }

    /// <summary>The HTTP version of the answer; null if none came.</summary>
    public Version? HttpVersion { get; private set; }

    /// <summary>The status of the answer; 0 if none came.</summary>
    public int Status { get; private set; }

    /// <summary>The headers of the answer, names ignoring case.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; private set; } =
        new Dictionary<string, string>();

    /// <summary>Watches a handler's connections and answers, without changing what it does.</summary>
    public HttpMessageHandler Around(SocketsHttpHandler handler)
    {
        var connect = handler.ConnectCallback ?? DialAsync;
        handler.ConnectCallback = async (context, token) =>
        {
            Host = context.DnsEndPoint;
            var stream = await connect(context, token);
            Address = Plain((stream as NetworkStream)?.Socket.RemoteEndPoint);
            return stream;
        };
        var validate = handler.SslOptions.RemoteCertificateValidationCallback;
        handler.SslOptions.RemoteCertificateValidationCallback = (sender, certificate, chain, errors) =>
        {
            OnCertificate(certificate, errors);
            return validate?.Invoke(sender, certificate, chain, errors) ?? errors == SslPolicyErrors.None;
        };
        handler.PlaintextStreamFilter = (context, _) =>
        {
            // "Tls13", without obsolete members of the enum.
            if (context.PlaintextStream is SslStream tls)
                Protocol = tls.SslProtocol.ToString().Replace("Tls1", "TLS 1.", StringComparison.Ordinal);
            return new ValueTask<Stream>(context.PlaintextStream);
        };
        return new AnswerHandler(this, handler);
    }

    /// <summary>A socket for both families names an IPv4 address as ::ffff:192.0.2.1.</summary>
    private static EndPoint? Plain(EndPoint? address) =>
        address is IPEndPoint { Address.IsIPv4MappedToIPv6: true } mapped
            ? new IPEndPoint(mapped.Address.MapToIPv4(), mapped.Port) : address;

    private void OnCertificate(X509Certificate? certificate, SslPolicyErrors errors)
    {
        CertificateErrors = errors;
        if (certificate is not X509Certificate2 known)
            return;
        var name = known.GetNameInfo(X509NameType.SimpleName, forIssuer: false);
        var issuer = known.GetNameInfo(X509NameType.SimpleName, forIssuer: true);
        Certificate = (name, issuer, known.NotAfter.ToUniversalTime());
    }

    private static async ValueTask<Stream> DialAsync(
        SocketsHttpConnectionContext context, CancellationToken cancellationToken)
    {
        var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
        try
        {
            await socket.ConnectAsync(context.DnsEndPoint, cancellationToken);
            return new NetworkStream(socket, ownsSocket: true);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    private sealed class AnswerHandler(UpstreamTrace trace, HttpMessageHandler inner)
        : DelegatingHandler(inner)
    {
        protected override async Task<HttpResponseMessage> SendAsync(
            HttpRequestMessage request, CancellationToken cancellationToken)
        {
            var response = await base.SendAsync(request, cancellationToken);
            trace.HttpVersion = response.Version;
            trace.Status = (int)response.StatusCode;
            trace.Headers = Copy(response.Headers.NonValidated);
            return response;
        }

        private static Dictionary<string, string> Copy(HttpHeadersNonValidated headers)
        {
            var copy = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
            foreach (var (name, values) in headers)
                copy.TryAdd(name, values.ToString());
            return copy;
        }
    }
}
