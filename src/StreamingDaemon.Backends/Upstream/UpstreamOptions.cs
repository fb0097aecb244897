namespace StreamingDaemon.Backends.Upstream;

/// <summary>How to reach an HTTP upstream, and what to tell its operator if that fails.</summary>
internal sealed record UpstreamOptions
{
    /// <summary>http or https. Requests may go to any path of its host.</summary>
    public required Uri Address { get; init; }

    /// <summary>Path of a Unix socket to connect to instead of the address's host and port, or
    /// null.</summary>
    public string? SocketPath { get; init; }

    /// <summary>HTTP/2: ALPN on https, prior knowledge on http. False is HTTP/1.1. Null: ALPN on https; on
    /// http the server is tried once.</summary>
    public bool? Http2Enabled { get; init; }

    /// <summary>The proxy to go through; null for none. Not used with a Unix socket.</summary>
    public UpstreamProxy? Proxy { get; init; }

    /// <summary>Finds the addresses of a host; null for the system's resolver.</summary>
    public Dialer.Resolver? Resolve { get; init; }

    /// <summary>Trusted CAs and the client certificate.</summary>
    public UpstreamTlsFiles TlsFiles { get; init; } = UpstreamTlsFiles.None;

    /// <summary>Accept any certificate.</summary>
    public bool TrustsAnyCertificate { get; init; }

    /// <summary>Time limit for connecting, TLS included, milliseconds.</summary>
    public int ConnectTimeoutMs { get; init; } = 10_000;

    /// <summary>Longest line and longest event accepted, bytes.</summary>
    public int MaxEventBytes { get; init; } = 1 << 20;

    /// <summary>The key, renewed when the upstream answers 401.</summary>
    public UpstreamKey Key { get; init; } = new("");

    /// <summary>Text that no error may quote any part of.</summary>
    public string Secret => Key.Hidden;

    /// <summary>Watches the connections and answers; null for none.</summary>
    public UpstreamTrace? Trace { get; init; }

    /// <summary>What the operator sets to use HTTP/1.1, as in "set X=false".</summary>
    public required string Http1Hint { get; init; }

    /// <summary>What the operator sets to use HTTP/2.</summary>
    public required string Http2Hint { get; init; }

    /// <summary>What the operator sets to choose the model of requests that name none, for the log.</summary>
    public required string ModelHint { get; init; }
}
