using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Sends one delivery once, signed, within a time limit.</summary>
internal sealed class DeliverySender : IDisposable
{
    /// <summary>Of the receiver's answer only the status counts; a longer one costs the connection.</summary>
    private const int MaxAnswerBytes = 64 * 1024;
    private const int MaxHeadKib = 16;

    /// <summary>A receiver that moves is found again within this time.</summary>
    private static readonly TimeSpan s_connectionLifetime = TimeSpan.FromMinutes(2);

    /// <summary>The longest wait that a receiver may ask for.</summary>
    private static readonly TimeSpan s_longestWait = TimeSpan.FromHours(1);

    private readonly DeliverySpool _spool;
    private readonly ReloadableOptions _options;
    private readonly HttpClient _http;
    private readonly Uri _url;
    private bool _closes;

    /// <exception cref="IOException">delivery.ca_file cannot be used.</exception>
    public DeliverySender(DeliverySpool spool, ReloadableOptions options)
    {
        var delivery = options.Current.Delivery;
        _spool = spool;
        _options = options;
        _url = delivery.Url ?? throw new ArgumentException("deliveries are off", nameof(options));
        _http = new HttpClient(new SocketsHttpHandler
        {
            // The answer goes where the operator said, and nowhere else.
            AllowAutoRedirect = false,
            UseProxy = false,
            UseCookies = false,
            // No limit of connections here: what is sent at once is decided before, and may change.
            PooledConnectionLifetime = s_connectionLifetime,
            MaxResponseHeadersLength = MaxHeadKib,
            MaxResponseDrainSize = MaxAnswerBytes,
            SslOptions = AuthorityFile.TlsOptions("delivery.ca_file", delivery.CaFile),
        })
        {
            Timeout = Timeout.InfiniteTimeSpan,
        };
        _http.DefaultRequestHeaders.UserAgent.Add(
            new ProductInfoHeaderValue("streaming-daemon", DaemonVersion.Text));
    }

    public void Dispose() => _http.Dispose();

    /// <summary>Sends the delivery. Failures are results.</summary>
    public async Task<DeliveryResult> SendAsync(SpoolName name, CancellationToken cancellationToken)
    {
        try
        {
            return await TrySendAsync(name, cancellationToken).ConfigureAwait(false);
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
            return DeliveryResult.NoMemory;
        }
    }

    private async Task<DeliveryResult> TrySendAsync(SpoolName name, CancellationToken cancellationToken)
    {
        var delivery = _options.Current.Delivery;
        if (DateTimeOffset.UtcNow - name.AcceptedAt > TimeSpan.FromHours(delivery.MaxAgeH))
            return new DeliveryResult(DeliveryVerdict.Expired, $"older than {delivery.MaxAgeH} h");
        var patience = TimeSpan.FromMilliseconds(delivery.TimeoutMs);
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        try
        {
            // Read three times, a piece at a time: an answer of many megabytes is never in memory.
            await using var body = _spool.OpenPending(name);
            if (!SpoolContent.IsWhole(body))
                return new DeliveryResult(DeliveryVerdict.Torn, "its file is not whole");
            using var request = Request(name.Id, body, delivery.Secret);
            using var response = await _http.SendAsync(
                request, HttpCompletionOption.ResponseHeadersRead, limit.Token).ConfigureAwait(false);
            // RFC 9112, section 9.3: it closes after each answer, whether it says so or not.
            if (response.Version == HttpVersion.Version10)
                Volatile.Write(ref _closes, true);
            return ResultOf(response);
        }
        catch (FileNotFoundException)
        {
            return new DeliveryResult(DeliveryVerdict.Gone);
        }
        catch (OperationCanceledException)
        {
            return cancellationToken.IsCancellationRequested
                ? new DeliveryResult(DeliveryVerdict.Cancelled)
                : new DeliveryResult(DeliveryVerdict.Unavailable, string.Create(CultureInfo.InvariantCulture,
                    $"no answer within {patience.TotalMilliseconds} ms"));
        }
        catch (HttpRequestException e)
        {
            return new DeliveryResult(DeliveryVerdict.Unavailable, Reason(e));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return new DeliveryResult(DeliveryVerdict.Failed, $"its file: {e.Message.TrimEnd('.')}");
        }
    }

    private HttpRequestMessage Request(string id, FileStream body, string secret)
    {
        var timestamp = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var signatures = new List<string>();
        // While the secret changes there are two, and the receiver may know either.
        foreach (var key in WebhookSecret.KeysOf(secret))
        {
            body.Position = 0;
            signatures.Add(DeliverySignature.Of(key, id, timestamp, body));
        }

        body.Position = 0;
        var request = new HttpRequestMessage(HttpMethod.Post, _url) { Content = new StreamContent(body) };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/json");
        request.Content.Headers.ContentLength = body.Length;
        // A request on a connection that a server of HTTP/1.0 is about to close would be lost.
        if (Volatile.Read(ref _closes))
            request.Headers.ConnectionClose = true;
        request.Headers.Add("webhook-id", id);
        request.Headers.Add("webhook-timestamp", timestamp.ToString(CultureInfo.InvariantCulture));
        request.Headers.Add("webhook-signature", string.Join(' ', signatures));
        return request;
    }

    private static DeliveryResult ResultOf(HttpResponseMessage response)
    {
        var status = (int)response.StatusCode;
        if (response.IsSuccessStatusCode)
            return new DeliveryResult(DeliveryVerdict.Delivered);
        var reason = string.Create(CultureInfo.InvariantCulture, $"HTTP {status}");
        var verdict = response.StatusCode switch
        {
            HttpStatusCode.TooManyRequests or HttpStatusCode.ServiceUnavailable =>
                DeliveryVerdict.Unavailable,
            HttpStatusCode.RequestTimeout or HttpStatusCode.Conflict => DeliveryVerdict.Failed,
            >= HttpStatusCode.BadRequest and < HttpStatusCode.InternalServerError => DeliveryVerdict.Refused,
            _ => DeliveryVerdict.Failed,
        };
        return new DeliveryResult(verdict, reason, RetryAfterOf(response));
    }

    private static TimeSpan? RetryAfterOf(HttpResponseMessage response)
    {
        var asked = response.Headers.RetryAfter;
        var wait = asked?.Delta ?? (asked?.Date - DateTimeOffset.UtcNow);
        return wait is not { } time ? null
            : time < TimeSpan.Zero ? TimeSpan.Zero
            : time > s_longestWait ? s_longestWait : time;
    }

    private static string Reason(HttpRequestException e) => e.InnerException switch
    {
        SocketException socket => $"{e.HttpRequestError}: {socket.SocketErrorCode}",
        _ => e.HttpRequestError.ToString(),
    };
}
