using System.Net;
using System.Net.Http;
using System.Net.Sockets;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Finds out which HTTP version a server without TLS speaks, where there is no ALPN to say it. It sends
/// HTTP/2's preface on a connection of its own (RFC 9113, section 3.3, "prior knowledge"). A server that does
/// not answer with SETTINGS gets HTTP/1.1. No request is at risk, and the result is kept. Safe for concurrent
/// use.
/// </summary>
internal sealed class HttpVersionProbe
{
    /// <summary>A server with HTTP/2 answers the preface at once; some others wait for more.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMilliseconds(500);

    /// <summary>A server that speaks HTTP/1.1 for certain may be replaced. It is looked at again this long
    /// after the last time, ms, and only if a request was refused or lost.</summary>
    private const int LookAgainAfterMs = 60_000;

    private const int FrameHeadBytes = 9;

    private readonly Func<CancellationToken, ValueTask<Stream>> _connect;
    private readonly TimeSpan _connectTimeout;
    private readonly Func<long> _clock;
    private readonly Lock _gate = new();
    private Task<Version>? _running;
    private volatile Version? _known;

    /// <summary>False if <see cref="_known"/> is only a guess: the server was silent, or sent no
    /// HTTP.</summary>
    private volatile bool _isCertain;

    private long _lookedAt;

    /// <param name="connect">Opens a connection to the server.</param>
    /// <param name="connectTimeout">Time limit for it.</param>
    /// <param name="clock">Milliseconds; null for the system's.</param>
    public HttpVersionProbe(Func<CancellationToken, ValueTask<Stream>> connect, TimeSpan connectTimeout,
        Func<long>? clock = null)
    {
        _clock = clock ?? (() => Environment.TickCount64);
        _connect = connect;
        _connectTimeout = connectTimeout;
    }

    /// <summary>The version, or null if it is to be found.</summary>
    public Version? Known => _known;

    /// <summary>Finds the version; callers at the same time share one probe.</summary>
    /// <exception cref="HttpRequestException">The server cannot be reached; as for a request.</exception>
    /// <exception cref="OperationCanceledException">No connection in time, with a
    /// <see cref="TimeoutException"/> inside, as for a request; or the token fired.</exception>
    public Task<Version> FindAsync(CancellationToken cancellationToken)
    {
        lock (_gate)
        {
            if (_known is { } known)
                return Task.FromResult(known);
            _running ??= Task.Run(RunAsync, CancellationToken.None);
            return _running.WaitAsync(cancellationToken);
        }
    }

    /// <summary>A request was answered.</summary>
    /// <returns>True if another version may do: servers with HTTP/2 alone have these statuses for
    /// HTTP/1.1.</returns>
    public bool OnAnswer(int status)
    {
        var mayBeVersion = status is 400 or 426 or 505;
        if (_isCertain)
        {
            if (mayBeVersion)
                LookAgain();
            return false;
        }

        lock (_gate)
        {
            var isDoubtful = mayBeVersion && _known is not null && !_isCertain;
            if (isDoubtful)
                _known = null;
            else
                _isCertain = _known is not null;
            return isDoubtful;
        }
    }

    /// <summary>A request brought no answer. The next one probes again if the version may be why: the server
    /// was silent only because it was busy, or is another one now.</summary>
    /// <returns>True if another version may do.</returns>
    public bool OnFailure(Exception exception)
    {
        var error = UpstreamCause.Find<HttpRequestException>(exception)?.HttpRequestError;
        lock (_gate)
        {
            if (error == HttpRequestError.VersionNegotiationError
                || UpstreamFailures.IsHttp11Required(exception))
            {
                // The client also gives this error if HTTP/1.1 came in answer to the preface.
                var wasHttp2 = _known != HttpVersion.Version11;
                (_known, _isCertain) = (HttpVersion.Version11, true);
                return wasHttp2;
            }

            if (_known is null)
                return false;
            var isUnreadable = error == HttpRequestError.InvalidResponse;
            var mayBeVersion = !_isCertain || isUnreadable;
            if (mayBeVersion || _known == HttpVersion.Version20)
                (_known, _isCertain) = (null, false);
            else if (error == HttpRequestError.ResponseEnded)
                LookAgain();
            return mayBeVersion;
        }
    }

    /// <summary>Looks, beside the requests, whether the server has HTTP/2 by now: one that has it alone may
    /// have come to the address of one without it.</summary>
    private void LookAgain()
    {
        lock (_gate)
        {
            if (_known != HttpVersion.Version11 || _clock() - _lookedAt < LookAgainAfterMs)
                return;
            _lookedAt = _clock();
        }

        _ = Task.Run(async () =>
        {
            try
            {
                await using var stream = await ConnectAsync();
                if (await AskAsync(stream) is not (var version, true) || version != HttpVersion.Version20)
                    return;
                lock (_gate)
                    (_known, _isCertain) = (version, true);
            }
            catch (Exception exception) when (UpstreamFailures.IsUpstreams(exception))
            {
                // The next request finds the fault itself.
            }
        });
    }

    private async Task<Version> RunAsync()
    {
        try
        {
            await using var stream = await ConnectAsync();
            var (version, isCertain) = await AskAsync(stream);
            lock (_gate)
                (_known, _isCertain, _lookedAt) = (version, isCertain, _clock());
            return version;
        }
        finally
        {
            lock (_gate)
                _running = null;
        }
    }

    private async Task<Stream> ConnectAsync()
    {
        using var timeout = new CancellationTokenSource(_connectTimeout);
        try
        {
            return await _connect(timeout.Token);
        }
        catch (OperationCanceledException exception)
        {
            throw new TaskCanceledException(exception.Message, new TimeoutException());
        }
        catch (Exception exception) when (exception is SocketException or IOException)
        {
            var error = exception is SocketException { SocketErrorCode: SocketError.HostNotFound }
                ? HttpRequestError.NameResolutionError
                : HttpRequestError.ConnectionError;
            throw new HttpRequestException(error, null, exception);
        }
    }

    private static async Task<(Version Version, bool IsCertain)> AskAsync(Stream stream)
    {
        using var patience = new CancellationTokenSource(s_patience);
        var answer = new byte[FrameHeadBytes];
        var length = 0;
        try
        {
            // The preface and an empty SETTINGS frame.
            var preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\u0004\0\0\0\0\0"u8.ToArray();
            await stream.WriteAsync(preface, patience.Token);
            int count;
            while (length < answer.Length
                && (count = await stream.ReadAsync(answer.AsMemory(length), patience.Token)) > 0)
            {
                length += count;
            }
        }
        catch (Exception exception) when (UpstreamFailures.IsUpstreams(exception))
        {
            // Silence, or a connection that the server ended: no HTTP/2.
        }

        if (IsSettings(answer.AsSpan(0, length)))
            return (HttpVersion.Version20, true);
        return (HttpVersion.Version11, answer.AsSpan(0, length).StartsWith("HTTP/1."u8));
    }

    /// <summary>A server's first frame is SETTINGS, not an acknowledgement, on stream 0 (RFC 9113, sections
    /// 3.4 and 6.5).</summary>
    private static bool IsSettings(ReadOnlySpan<byte> frame) => frame.Length == FrameHeadBytes
        && frame[3] == 4 && frame[4] == 0 && !frame[5..].ContainsAnyExcept((byte)0)
        && ((frame[0] << 16) | (frame[1] << 8) | frame[2]) % 6 == 0;
}
