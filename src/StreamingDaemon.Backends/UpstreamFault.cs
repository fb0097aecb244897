namespace StreamingDaemon.Backends;

/// <summary>What was wrong with an upstream: the closed vocabulary of the metrics
/// <c>upstream_errors_total</c> and <c>upstream_retries_total</c>.</summary>
public enum UpstreamFault
{
    /// <summary>Its name does not resolve.</summary>
    Dns,

    /// <summary>No connection: refused, unreachable, no such socket.</summary>
    Connect,

    /// <summary>No connection, TLS included, within the connect timeout.</summary>
    ConnectTimeout,

    /// <summary>The TLS handshake failed, or the certificate is not trusted.</summary>
    Tls,

    /// <summary>It speaks another protocol or another HTTP version.</summary>
    Protocol,

    /// <summary>The connection or the HTTP/2 stream was lost before a response head.</summary>
    Reset,

    /// <summary>401 or 403: the key is wrong or lacks the permission.</summary>
    Unauthorized,

    /// <summary>429.</summary>
    RateLimited,

    /// <summary>Any other 4xx.</summary>
    ClientError,

    /// <summary>5xx.</summary>
    ServerError,

    /// <summary>3xx, which is never followed.</summary>
    Redirect,

    /// <summary>2xx, but neither an event stream nor a completion.</summary>
    NotAStream,

    /// <summary>Lost after the response head, before the end of the body.</summary>
    BrokenOff,

    /// <summary>An event that is not a JSON object.</summary>
    Malformed,

    /// <summary>A line or an event above the limit.</summary>
    TooLong,

    /// <summary>An error object in the stream.</summary>
    ErrorEvent,

    /// <summary>A clean end without <c>[DONE]</c> or a finish reason.</summary>
    Truncated,

    /// <summary>An end without anything that the stream's format can show, whatever the upstream said of it.
    /// </summary>
    EmptyAnswer,

    /// <summary>Megabytes of comments and empty events.</summary>
    NoProgress,

    /// <summary>No token within the first-token timeout.</summary>
    FirstTokenTimeout,

    /// <summary>Silence between two tokens.</summary>
    IdleTimeout,
}
