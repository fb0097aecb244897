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
    private volatile bool _wantsHttp11;

    /// <summary>The upstream has sent SETTINGS.</summary>
    public bool IsGreeted => _isGreeted;

    /// <summary>Its last connection allowed fewer streams at first than the client assumes.</summary>
    public bool IsLow => _isLow;

    /// <summary>Its last connection allowed no stream at first.</summary>
    public bool IsNone => _isNone;

    /// <summary>It ended its last connection because it wants HTTP/1.1. If the client has read that before it
    /// used the connection, its exception does not say so.</summary>
    public bool WantsHttp11 => _wantsHttp11;

    /// <summary>A connection's first SETTINGS came.</summary>
    /// <param name="limit">Their SETTINGS_MAX_CONCURRENT_STREAMS, or null.</param>
    public void OnGreeting(uint? limit)
    {
        (_isLow, _isNone, _wantsHttp11) = (limit < Assumed, limit == 0, false);
        _isGreeted = true;
    }

    /// <summary>A connection's GOAWAY came.</summary>
    public void OnGoAway(uint errorCode)
    {
        if (errorCode == UpstreamFailures.Http11Required)
            _wantsHttp11 = true;
    }

    /// <summary>A connection waited for SETTINGS in vain: the next one does not.</summary>
    public void OnSilence() => (_isLow, _isNone) = (false, false);
}
