using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics;
using System.Net.Http;
using System.Net.Http.Headers;
using OpenAI;
using OpenAI.Chat;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Any server that speaks <c>/chat/completions</c>. The official SDK writes the request; its answer is read
/// as bytes, because the SDK's own streaming makes a dozen objects of each token.
/// </summary>
internal sealed class OpenAIBackend : IStreamingBackend, IDisposable
{
    /// <summary>Longest id or pattern passed on in a header.</summary>
    private const int MaxHeaderLength = 256;

    private static readonly RequestOptions s_requestOptions = CreateRequestOptions();

    private readonly OpenAIOptions _options;
    private readonly UpstreamTransport _transport;
    private readonly UpstreamFailures _failures;
    private readonly RetryPolicy _retries;
    private readonly ChatClient _client;
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
        _failures = new UpstreamFailures(options);
        _retries = retries;
        _transport = new UpstreamTransport(options);
        var clientOptions = new OpenAIClientOptions
        {
            Endpoint = options.ApiBase,
            Transport = _transport,
            // The SDK's knows neither how long the client's head may wait nor what else is failing.
            RetryPolicy = UpstreamTransport.NoRetries,
            NetworkTimeout = Timeout.InfiniteTimeSpan,
            EnableDistributedTracing = false,
            ClientLoggingOptions = new ClientLoggingOptions { EnableLogging = false },
        };
        clientOptions.AddPolicy(UpstreamTransport.Written, PipelinePosition.BeforeTransport);
        _client = new ChatClient(options.Model, new ApiKeyCredential(options.ApiKey), clientOptions);
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
                using var message = await WriteAsync(request, body);
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
        var relay = new ResponsePump(response, sink, _options.MaxEventBytes, _options.ApiKey,
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

    /// <summary>Has the SDK write the request, which it does without waiting for anything.</summary>
    private async ValueTask<HttpRequestMessage> WriteAsync(StreamRequest request, ChatRequestBody body)
    {
        var message = UpstreamTransport.RequestOf(await _client.CompleteChatAsync(body, s_requestOptions));
        if (IsHeaderSafe(request.TestPattern))
            message.Headers.TryAddWithoutValidation("X-Test-Pattern", request.TestPattern);
        if (IsHeaderSafe(request.RequestId))
        {
            // The first is what gateways log, the second what the official API does.
            message.Headers.TryAddWithoutValidation("X-Request-Id", request.RequestId);
            message.Headers.TryAddWithoutValidation("X-Client-Request-Id", request.RequestId);
        }

        return message;
    }

    private static RequestOptions CreateRequestOptions()
    {
        var options = new RequestOptions
        {
            BufferResponse = false,
            ErrorOptions = ClientErrorBehaviors.NoThrow,
        };
        // Must not name event streams here: see UpstreamTransport.SendAsync.
        options.SetHeader("Accept", "application/json");
        return options;
    }

    private static bool IsEventStream(HttpResponseMessage response, out string? contentType)
    {
        contentType = ValueOf(response.Content.Headers.NonValidated, "Content-Type");
        return response.IsSuccessStatusCode && UpstreamErrorCode.MediaType(contentType)
            .Equals("text/event-stream", StringComparison.OrdinalIgnoreCase);
    }

    private static string? ValueOf(in HttpHeadersNonValidated headers, string name) =>
        headers.TryGetValues(name, out var values) ? values.ToString() : null;

    private static bool IsHeaderSafe(string? value) => value is { Length: > 0 and <= MaxHeaderLength }
        && !value.AsSpan().ContainsAnyExceptInRange('!', '~');
}
