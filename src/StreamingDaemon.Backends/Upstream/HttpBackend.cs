using System.Diagnostics;
using System.Net.Http;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// A backend that asks an upstream over HTTP and reads server-sent events: attempts, retries, refusals, and
/// the path from the response to the sink. The derived class writes the request and reads the events.
/// </summary>
/// <typeparam name="TBody">A request's body, for all its attempts.</typeparam>
/// <typeparam name="TEvents">Reads the upstream's events.</typeparam>
internal abstract class HttpBackend<TBody, TEvents> : IStreamingBackend, IDisposable
    where TBody : class, IDisposable
    where TEvents : struct, IEventReader
{
    /// <summary>RFC 9110, section 15.5.2: the key is not, or no longer, the right one.</summary>
    private const int Unauthorized = 401;

    private readonly UpstreamOptions _upstream;
    private readonly UpstreamTransport _transport;
    private readonly UpstreamFailures _failures;
    private readonly RetryPolicy _retries;
    private readonly IWriteBatch? _batch;

    /// <param name="upstream">How it is reached.</param>
    /// <param name="retries">Decides whether to retry.</param>
    /// <param name="batch">Told which writes belong together.</param>
    protected HttpBackend(UpstreamOptions upstream, RetryPolicy retries, IWriteBatch? batch)
    {
        _upstream = upstream;
        _retries = retries;
        _batch = batch;
        _failures = new UpstreamFailures(upstream);
        _transport = new UpstreamTransport(upstream);
    }

    public abstract string Name { get; }

    public abstract string DefaultModel { get; }

    public bool RequiresPrompt => true;

    public virtual bool PassesUnknownParameters => false;

    public int BytesPerStream => _transport.BytesPerStream;

    public string? TimeoutHint => _failures.TimeoutHint;

    public virtual void Apply(object options)
    {
    }

    public async Task<BackendResult> StreamAsync(
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        // Retries send the same bytes, which take half as much as the texts.
        using var body = WriteBody(request);
        var (isRenewed, isOtherWay) = (false, false);
        for (var retries = 0; ; retries++)
        {
            cancellationToken.ThrowIfCancellationRequested();
            var key = _upstream.Key.Current;
            HttpResponseMessage? response = null;
            BackendResult? failed = null;
            try
            {
                using var message = await WriteAsync(request, body);
                // A compressor in the path would hold tokens back.
                message.Headers.TryAddWithoutValidation("Accept-Encoding", "identity");
                response = await _transport.SendAsync(message, cancellationToken);
            }
            catch (Exception exception) when (UpstreamFailures.IsUpstreams(exception))
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (_transport.SpeaksHttp2)
                    _failures.OnAnswer();
                failed = _failures.FromSending(exception, _transport.AllowsNoStream);
                if (_transport.OnFailure(exception))
                {
                    failed = failed with { ShouldRetry = true };
                    if (!isOtherWay)
                    {
                        // It is another request, which does not count as a retry.
                        isOtherWay = true;
                        sink.OnRetry(failed.Fault!.Value);
                        retries--;
                        continue;
                    }
                }
            }

            var result = failed ?? await ReadAsync(response!, request, body, sink, cancellationToken);
            if (UpstreamFailures.MayBeClientCertificate(result) && _transport.ClientProblem is { } problem)
                result = result with { Reason = $"{result.Reason}; {problem} (client_cert_file)" };
            if (result.LacksModel)
                result = UpstreamFailures.WithModel(result, ModelOf(request.Model));
            if (result.UpstreamStatus == Unauthorized && !isRenewed
                && (isRenewed = await _upstream.Key.RenewAsync(key, cancellationToken)))
            {
                // With another key it is another request, which does not count as a retry.
                sink.OnRetry(result.Fault!.Value);
                retries--;
                continue;
            }

            var left = request.RetryWindow - Stopwatch.GetElapsedTime(start);
            if (!_retries.TryPlan(result, retries, left, out var wait))
            {
                if (retries == 0 || result.Fault is null)
                    return result;
                var reason = $"{result.Reason}, after {retries} of {_retries.MaxRetries} retries";
                return result with { Reason = reason };
            }

            await WaitAsync(wait, cancellationToken);
            sink.OnRetry(result.Fault!.Value);
        }
    }

    public void Dispose() => _transport.Dispose();

    /// <summary>Uses other certificates for the connections from now on.</summary>
    /// <exception cref="UpstreamTlsException">A certificate's file cannot be used.</exception>
    protected void Renew(UpstreamTlsFiles files) => _transport.Renew(files);

    /// <summary>Writes the body and drops the request's texts
    /// (<see cref="StreamRequest.ReleasePrompt"/>).</summary>
    protected abstract TBody WriteBody(StreamRequest request);

    /// <summary>Writes one attempt's request. The body outlives it.</summary>
    protected abstract ValueTask<HttpRequestMessage> WriteAsync(StreamRequest request, TBody body);

    /// <summary>Makes the reader of one response's events.</summary>
    protected abstract TEvents CreateReader(StreamRequest request);

    private ValueTask<BackendResult> ReadAsync(HttpResponseMessage response, StreamRequest request,
        TBody body, IDeltaSink sink, CancellationToken cancellationToken)
    {
        _failures.OnAnswer();
        var mayBeVersion = _transport.OnAnswer(response.Version, (int)response.StatusCode);
        var contentType = AnswerBody.ContentTypeOf(response);
        var content = AnswerBody.Decode(response, response.Content.ReadAsStream(cancellationToken));
        var kind = AnswerBody.KindOf(contentType);
        if (!response.IsSuccessStatusCode || content is null || kind == BodyKind.Other)
        {
            return new(RefusedAsync(
                response, request.Model, contentType, content, mayBeVersion, cancellationToken));
        }

        // No retry follows from here on, and the answer may take minutes.
        body.Dispose();
        request.ReleasePrompt();
        _retries.OnAccepted();
        return kind == BodyKind.Events
            ? PumpOf(response, request, sink, cancellationToken).RunAsync(content)
            : new(LookAsync(response, request, content, sink, cancellationToken));
    }

    private ResponsePump<TEvents> PumpOf(HttpResponseMessage response, StreamRequest request, IDeltaSink sink,
        CancellationToken cancellationToken)
    {
        AnswerBody.DropHead(response);
        return new(response, sink, CreateReader(request),
            _upstream.MaxEventBytes, (int)response.StatusCode, cancellationToken, new AnswerMemory(request))
        {
            WindowBytes = response.Version.Major >= 2 ? UpstreamTransport.Http2WindowBytes : 0,
            Batch = _batch,
        };
    }

    /// <summary>A body whose Content-Type does not say events: its first bytes tell what it is.</summary>
    private async Task<BackendResult> LookAsync(HttpResponseMessage response, StreamRequest request,
        Stream content, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var status = (int)response.StatusCode;
        try
        {
            // Whatever comes, the client may leave before it.
            await using var abort = cancellationToken.UnsafeRegister(
                static response => ((HttpResponseMessage)response!).Dispose(), response);
            var (kind, begun) = await AnswerBody.LookAsync(
                content, sink.OnUpstreamActivity, cancellationToken);
            switch (kind)
            {
                case BodyKind.Events:
                    await abort.DisposeAsync();
                    return await PumpOf(response, request, sink, cancellationToken).RunAsync(content, begun);
                case BodyKind.Json:
                    var (whole, json) = await AnswerBody.ReadWholeAsync(
                        content, begun, _upstream.MaxEventBytes, sink.OnUpstreamActivity,
                        new AnswerMemory(request), cancellationToken);
                    if (whole == BodyKind.Events)
                    {
                        await abort.DisposeAsync();
                        return await PumpOf(response, request, sink, cancellationToken)
                            .RunAsync(content, json);
                    }

                    if (whole == BodyKind.Json)
                    {
                        await abort.DisposeAsync();
                        return await ReadJsonAsync(json, response, request, sink, cancellationToken);
                    }

                    response.Dispose();
                    return UpstreamFailures.TooLong(_upstream.MaxEventBytes, status);
                case BodyKind.Empty:
                    response.Dispose();
                    return UpstreamFailures.Empty(onlyHeld: null, status);
                default:
                    return await RefusedAsync(
                        response, request.Model, AnswerBody.ContentTypeOf(response), content: null,
                        mayBeVersion: false, cancellationToken);
            }
        }
        catch (Exception exception)
            when (UpstreamFailures.IsUpstreams(exception) || cancellationToken.IsCancellationRequested)
        {
            response.Dispose();
            cancellationToken.ThrowIfCancellationRequested();
            return UpstreamFailures.FromReading(exception, status);
        }
        catch (InsufficientMemoryException)
        {
            response.Dispose();
            throw;
        }
    }

    /// <summary>Reads a whole JSON body: an answer, an error, or JSON around another body.</summary>
    private ValueTask<BackendResult> ReadJsonAsync(ReadOnlyMemory<byte> json, HttpResponseMessage response,
        StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
    {
        var inner = WrappedBody.TryOpen(json.Span);
        if (inner is not null && WrappedBody.HoldsEvents(inner))
        {
            return PumpOf(response, request, sink, cancellationToken).RunAsync(new MemoryStream(inner));
        }

        if (inner is null && AnswerBody.IsText(json.Span))
        {
            return new(RefusedAsync(response, request.Model, AnswerBody.ContentTypeOf(response),
                content: null, mayBeVersion: false, cancellationToken));
        }

        response.Dispose();
        return JsonAnswer.ReadAsync(
            inner ?? json, CreateReader(request), sink, (int)response.StatusCode, cancellationToken);
    }

    private async Task<BackendResult> RefusedAsync(HttpResponseMessage response, string? model,
        string? contentType, Stream? content, bool mayBeVersion, CancellationToken cancellationToken)
    {
        using (response)
        {
            var headers = response.Headers.NonValidated;
            var retryAfter = UpstreamRetryAfter.Of(headers, DateTimeOffset.UtcNow);
            var failed = await _failures.FromResponseAsync((int)response.StatusCode, contentType,
                AnswerBody.ValueOf(headers, "x-should-retry"), content,
                ModelOf(model), cancellationToken);
            if (content is null && response.IsSuccessStatusCode && AnswerBody.HasCoding(response))
            {
                failed = failed with
                {
                    Reason =
                        $"the upstream's Content-Encoding names more than {AnswerBody.MaxCodings} codings",
                };
            }

            return failed with
            {
                RetryAfter = retryAfter ?? failed.RetryAfter,
                ShouldRetry = mayBeVersion ? true : failed.ShouldRetry,
            };
        }
    }

    private string ModelOf(string? named) =>
        MissingModel.Describe(named, DefaultModel, _upstream.ModelHint);

    /// <summary>Waits at least this long: a timer may fire some milliseconds early, and the upstream would
    /// refuse again.</summary>
    private static async Task WaitAsync(TimeSpan wait, CancellationToken cancellationToken)
    {
        var start = Stopwatch.GetTimestamp();
        for (var left = wait; left > TimeSpan.Zero; left = wait - Stopwatch.GetElapsedTime(start))
            await Task.Delay((int)Math.Ceiling(left.TotalMilliseconds), cancellationToken);
    }
}
