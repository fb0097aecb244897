namespace StreamingDaemon.Backends.Upstream;

/// <summary>The beginning of one HTTP/2 connection, until its peer's SETTINGS allow a stream, and the reason
/// for its end.</summary>
/// <param name="streams">What the upstream's connections have allowed so far.</param>
internal sealed class Http2Opening(Http2Streams streams)
{
    // RFC 9113, sections 6.5.1 and 6.5.2.
    private const int SettingBytes = 6;
    private const int ValueBits = 32;
    private const int MaxConcurrentStreams = 3;

    /// <summary>Null if the client need not wait.</summary>
    private readonly TaskCompletionSource? _opened = streams.IsLow
        ? new(TaskCreationOptions.RunContinuationsAsynchronously)
        : null;

    private ulong _setting;
    private int _settingLength;
    private uint? _limit;
    private ulong _goAway;
    private int _goAwayLength;
    private volatile bool _isGreeted;

    /// <summary>The client has to wait with its first stream.</summary>
    public bool IsAwaited => _opened is { Task.IsCompleted: false };

    /// <summary>The peer's SETTINGS have come, and they allow a stream.</summary>
    public bool AllowsStream { get; private set; }

    /// <summary>A piece of a SETTINGS frame's payload came.</summary>
    /// <param name="piece">The piece.</param>
    /// <param name="isLast">The frame ends with it.</param>
    public void OnSettings(ReadOnlySpan<byte> piece, bool isLast)
    {
        foreach (var next in piece)
        {
            _setting = (_setting << 8) | next;
            if (++_settingLength < SettingBytes)
                continue;
            if (_setting >> ValueBits == MaxConcurrentStreams)
                _limit = (uint)_setting;
            (_setting, _settingLength) = (0, 0);
        }

        if (!isLast)
            return;
        if (!_isGreeted)
            streams.OnGreeting(_limit);
        _isGreeted = true;
        AllowsStream = _limit != 0;
    }

    /// <summary>A piece of a GOAWAY frame's payload came: a stream's id, the error code, and text (section
    /// 6.8).</summary>
    public void OnGoAway(ReadOnlySpan<byte> piece)
    {
        foreach (var next in piece)
        {
            if (_goAwayLength == sizeof(ulong))
                return;
            _goAway = (_goAway << 8) | next;
            if (++_goAwayLength == sizeof(ulong))
                streams.OnGoAway((uint)_goAway);
        }
    }

    /// <summary>The client reads on: it has processed the frames before.</summary>
    public void OnRead()
    {
        if (AllowsStream)
            _opened?.TrySetResult();
    }

    /// <summary>The connection has ended.</summary>
    public void OnEnd() => _opened?.TrySetResult();

    /// <summary>Sends the preface, and waits until the client knows that it may open a stream. Meanwhile the
    /// client is setting the connection up, within its limit for connecting, and reads.</summary>
    public async Task SendPrefaceAsync(
        Stream connection, ReadOnlyMemory<byte> preface, CancellationToken cancellationToken)
    {
        await connection.WriteAsync(preface, cancellationToken).ConfigureAwait(false);
        try
        {
            await _opened!.Task.WaitAsync(cancellationToken).ConfigureAwait(false);
        }
        catch (OperationCanceledException) when (!_isGreeted)
        {
            streams.OnSilence();
            throw;
        }
    }
}
