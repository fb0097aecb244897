using System.ClientModel;
using System.ClientModel.Primitives;
using System.Diagnostics;
using OpenAI;
using OpenAI.Chat;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Any server that speaks <c>/chat/completions</c>. The official SDK sends the request; its answer is read
/// as bytes, because the SDK's own streaming makes a dozen objects of each token.
/// </summary>
internal sealed class OpenAIBackend : IStreamingBackend, IDisposable
{
    /// <summary>Longest id or pattern passed on in a header.</summary>
    private const int MaxHeaderLength = 256;

    private readonly OpenAIOptions _options;
    private readonly UpstreamTransport _transport;
    private readonly UpstreamFailures _failures;
    private readonly RetryPolicy _retries;
    private readonly ChatClient _client;

    /// <exception cref="ArgumentException">There is no key.</exception>
    public OpenAIBackend(OpenAIOptions options)
        : this(options, new RetryPolicy(options.MaxRetries))
    {
    }

    /// <exception cref="ArgumentException">There is no key.</exception>
    public OpenAIBackend(OpenAIOptions options, RetryPolicy retries)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(options.ApiKey, nameof(options));
        _options = options;
        _failures = new UpstreamFailures(options);
        _retries = retries;
        _transport = UpstreamTransport.Create(options);
        var clientOptions = new OpenAIClientOptions
        {
            Endpoint = options.ApiBase,
            Transport = _transport,
            // The SDK's knows neither how long the client's head may wait nor what else is failing.
            RetryPolicy = new ClientRetryPolicy(maxRetries: 0),
            NetworkTimeout = Timeout.InfiniteTimeSpan,
            EnableDistributedTracing = false,
        };
        _client = new ChatClient(options.Model, new ApiKeyCredential(options.ApiKey), clientOptions);
    }

    public string Name => "openai";

    public string DefaultModel => _options.Model;

    public bool RequiresPrompt => true;

    public string? MendOfSilence => _failures.MendOfSilence;

    public async Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        for (var retries = 0; ; retries++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var result = await AttemptAsync(request, sink, cancellationToken);
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

    private async Task<BackendResult> AttemptAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        PipelineResponse response;
        try
        {
            response = await SendAsync(request, cancellationToken);
        }
        catch (Exception exception) when (UpstreamFailures.IsUpstreams(exception))
        {
            cancellationToken.ThrowIfCancellationRequested();
            return _failures.FromSending(exception);
        }

        _failures.OnAnswer();
        return IsEventStream(response, out var contentType)
            ? await RelayAsync(response, sink, cancellationToken)
            : await RefusedAsync(response, contentType, cancellationToken);
    }

    private Task<BackendResult> RelayAsync(
        PipelineResponse response, IDeltaSink sink, CancellationToken cancellationToken)
    {
        _retries.OnAccepted();
        var relay = new AnswerRelay(
            response, sink, _options.MaxEventBytes, _options.ApiKey, response.Status, cancellationToken);
        return relay.RunAsync(response.ContentStream!);
    }

    private async Task<BackendResult> RefusedAsync(
        PipelineResponse response, string? contentType, CancellationToken cancellationToken)
    {
        using (response)
        {
            response.Headers.TryGetValue("Retry-After", out var retryAfter);
            var failed = await _failures.FromResponseAsync(
                response.Status, contentType, response.ContentStream, cancellationToken);
            return failed with { RetryAfter = RetryAfter.Parse(retryAfter, DateTimeOffset.UtcNow) };
        }
    }

    private async Task<PipelineResponse> SendAsync(
        StreamRequest request, CancellationToken cancellationToken)
    {
        var options = new RequestOptions
        {
            BufferResponse = false,
            ErrorOptions = ClientErrorBehaviors.NoThrow,
            CancellationToken = cancellationToken,
        };
        // Must not name event streams here: see UpstreamTransport.OnSendingRequest.
        options.SetHeader("Accept", "application/json");
        if (IsHeaderSafe(request.TestPattern)) options.SetHeader("X-Test-Pattern", request.TestPattern!);
        if (IsHeaderSafe(request.RequestId))
        {
            // The first is what gateways log, the second what the official API does.
            options.SetHeader("X-Request-Id", request.RequestId);
            options.SetHeader("X-Client-Request-Id", request.RequestId);
        }

        using var body = new ChatRequestBody(request, request.Model ?? _options.Model);
        var result = await _client.CompleteChatAsync(body, options);
        return result.GetRawResponse();
    }

    private static bool IsEventStream(PipelineResponse response, out string? contentType)
    {
        response.Headers.TryGetValue("Content-Type", out contentType);
        if (response.Status is < 200 or >= 300 || response.ContentStream is null) return false;
        return UpstreamErrorWord.FromContentType(contentType) is { } mediaType
            && mediaType.Equals("text/event-stream", StringComparison.OrdinalIgnoreCase);
    }

    private static bool IsHeaderSafe(string? value) => value is { Length: > 0 and <= MaxHeaderLength }
        && !value.AsSpan().ContainsAnyExceptInRange('!', '~');
}
