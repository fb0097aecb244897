using System.Diagnostics;
using System.Net.Http;
using System.Net.Http.Headers;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Any server that speaks <c>/chat/completions</c>. The official SDK writes the request; its answer is read
/// as bytes, because the SDK's own streaming makes a dozen objects of each token.
/// </summary>
internal sealed class OpenAIBackend : IStreamingBackend, IDisposable
{
    private readonly OpenAIOptions _options;
    private readonly UpstreamTransport _transport;
    private readonly UpstreamFailures _failures;
    private readonly RetryPolicy _retries;
    private readonly ChatRequestWriter _writer;
    private readonly IWriteBatch? _bursts;

    /// <exception cref="ArgumentException">There is no key.</exception>
    public OpenAIBackend(OpenAIOptions options, IWriteBatch? bursts = null)
        : this(options, new RetryPolicy(options.MaxRetries))
    {
        _bursts = bursts;
    }

    /// <exception cref="ArgumentException">There is no key.</exception>
    public OpenAIBackend(OpenAIOptions options, RetryPolicy retries)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(options.ApiKey, nameof(options));
        _options = options;
        var upstream = UpstreamOf(options);
        _failures = new UpstreamFailures(upstream);
        _retries = retries;
        _transport = new UpstreamTransport(upstream);
        _writer = new ChatRequestWriter(options);
    }

    public string Name => "openai";

    public string DefaultModel => _options.Model;

    public bool RequiresPrompt => true;

    public int BytesPerStream => _transport.BytesPerStream;

    public string? TimeoutHint => _failures.TimeoutHint;

    public async Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        // Retries send the same bytes, half of what the texts take.
        using var body = new ChatRequestBody(request, request.Model ?? _options.Model);
        request.ReleasePrompt(body.Length);
        for (var retries = 0; ; retries++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            HttpResponseMessage? response = null;
            BackendResult? failed = null;
            try
            {
                using var message = await _writer.WriteAsync(request, body);
                response = await _transport.SendAsync(message, cancellationToken);
            }
            catch (Exception exception) when (UpstreamFailures.IsUpstreams(exception))
            {
                cancellationToken.ThrowIfCancellationRequested();
                failed = _failures.FromSending(exception);
            }

            var result = failed ?? await ReadAsync(response!, request, body, sink, cancellationToken);
            var left = request.RetryWindow - Stopwatch.GetElapsedTime(start);
            if (!_retries.TryPlan(result, retries, left, out var wait))
            {
                if (retries == 0 || result.Fault is null) return result;
                var reason = $"{result.Reason}, after {retries} of {_options.MaxRetries} retries";
                return result with { Reason = reason };
            }

            await Task.Delay(wait, cancellationToken);
            sink.OnRetry(result.Fault!.Value);
        }
    }

    public void Dispose() => _transport.Dispose();

    private ValueTask<BackendResult> ReadAsync(HttpResponseMessage response, StreamRequest request,
        ChatRequestBody body, IDeltaSink sink, CancellationToken cancellationToken)
    {
        _failures.OnAnswer();
        _transport.OnAnswer(response.Version);
        if (!IsEventStream(response, out var contentType))
            return new(RefusedAsync(response, contentType, cancellationToken));
        // Nothing is asked again after this, and the answer may take minutes.
        body.Dispose();
        request.ReleasePrompt();
        return RelayAsync(response, sink, cancellationToken);
    }

    private ValueTask<BackendResult> RelayAsync(
        HttpResponseMessage response, IDeltaSink sink, CancellationToken cancellationToken)
    {
        _retries.OnAccepted();
        var events = new ChunkEvents(new ChunkReader(_options.ApiKey));
        var relay = new ResponsePump<ChunkEvents>(response, sink, events, _options.MaxEventBytes,
            (int)response.StatusCode, cancellationToken)
        {
            Bursts = _bursts,
        };
        return relay.RunAsync(response.Content.ReadAsStream(cancellationToken));
    }

    private async Task<BackendResult> RefusedAsync(
        HttpResponseMessage response, string? contentType, CancellationToken cancellationToken)
    {
        using (response)
        {
            var failed = await _failures.FromResponseAsync((int)response.StatusCode, contentType,
                response.Content.ReadAsStream(cancellationToken), cancellationToken);
            var retryAfter = ValueOf(response.Headers.NonValidated, "Retry-After");
            return failed with { RetryAfter = RetryAfter.Parse(retryAfter, DateTimeOffset.UtcNow) };
        }
    }

    private static bool IsEventStream(HttpResponseMessage response, out string? contentType)
    {
        contentType = ValueOf(response.Content.Headers.NonValidated, "Content-Type");
        return response.IsSuccessStatusCode && UpstreamErrorCode.MediaType(contentType)
            .Equals("text/event-stream", StringComparison.OrdinalIgnoreCase);
    }

    private static string? ValueOf(in HttpHeadersNonValidated headers, string name) =>
        headers.TryGetValues(name, out var values) ? values.ToString() : null;

    private static UpstreamOptions UpstreamOf(OpenAIOptions options) => new()
    {
        Address = options.ApiBase,
        SocketPath = options.ApiSocket,
        Http2Enabled = options.Http2Enabled,
        TrustsAnyCertificate = options.InsecureSsl,
        ConnectTimeoutMs = options.ConnectTimeoutMs,
        MaxEventBytes = options.MaxEventBytes,
        Secret = options.ApiKey,
        Http1Hint = "set OPENAI_HTTP2_ENABLED=false",
        Http2Hint = "set OPENAI_HTTP2_ENABLED=true",
    };
}
