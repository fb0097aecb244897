namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// How many streams an upstream allows on a new HTTP/2 connection. The HTTP client assumes 100 until SETTINGS
/// come, and sends requests before. Those above the limit are refused, and the client repeats each at once,
/// up to three times. If the limit is 0 by the time the client has set the connection up, it fails the
/// request. Connections to an upstream with a low limit therefore wait for its SETTINGS
/// (<see cref="Http2Opening"/>): a round trip for each connection, but no request is refused.
/// </summary>
/// <remarks>Safe for concurrent use: the last connection decides.</remarks>
internal sealed class Http2Streams
{
    /// <summary>The client's assumption. Upstreams that allow as many or more cost no round trip.</summary>
    private const uint Assumed = 100;

    private volatile bool _isGreeted;
    private volatile bool _isLow;
    private volatile bool _isNone;

    /// <summary>The upstream has sent SETTINGS.</summary>
    public bool IsGreeted => _isGreeted;

    /// <summary>Its last connection allowed fewer streams at first than the client assumes.</summary>
    public bool IsLow => _isLow;

    /// <summary>Its last connection allowed no stream at first.</summary>
    public bool IsNone => _isNone;

    /// <summary>A connection's first SETTINGS came.</summary>
    /// <param name="limit">Their SETTINGS_MAX_CONCURRENT_STREAMS, or null.</param>
    public void OnGreeting(uint? limit)
    {
        (_isLow, _isNone) = (limit < Assumed, limit == 0);
        _isGreeted = true;
    }

    /// <summary>A connection waited for SETTINGS in vain: the next one does not.</summary>
    public void OnSilence() => (_isLow, _isNone) = (false, false);
}
