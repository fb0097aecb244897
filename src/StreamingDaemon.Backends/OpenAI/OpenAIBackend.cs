using System.Net.Http;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Any server that speaks <c>/chat/completions</c>. The official SDK writes the request; the backend reads
/// the answer as bytes, because the SDK's own streaming makes a dozen objects for each token.
/// </summary>
internal sealed class OpenAIBackend : HttpBackend<ChatRequestBody, ChunkEvents>
{
    private readonly OpenAIOptions _options;
    private readonly UpstreamKey _key;
    private readonly ChatRequestWriter _writer;
    private (string Key, string? File) _appliedKey;

    /// <exception cref="ArgumentException">There is no key, or the proxy's address is wrong.</exception>
    public OpenAIBackend(OpenAIOptions options, BackendContext context)
        : this(options, new RetryPolicy(options.MaxRetries), context)
    {
    }

    /// <exception cref="ArgumentException">There is no key, or the proxy's address is wrong.</exception>
    public OpenAIBackend(OpenAIOptions options, RetryPolicy retries, BackendContext context)
        : this(options, retries, context.WriteBatch,
            new UpstreamKey(options.ApiKey, options.ApiKeyFile, context.ReadSecretFile))
    {
    }

    private OpenAIBackend(OpenAIOptions options, RetryPolicy retries, IWriteBatch? batch, UpstreamKey key,
        UpstreamTrace? trace = null)
        : base(UpstreamOf(options, key, trace), retries, batch)
    {
        _options = options;
        _key = key;
        _appliedKey = (options.ApiKey, options.ApiKeyFile);
        _writer = new ChatRequestWriter(options, key);
    }

    /// <summary>A backend for one request, which is watched and not retried.</summary>
    public static OpenAIBackend ForProbe(OpenAIOptions options, UpstreamTrace trace) =>
        new(options, new RetryPolicy(0), batch: null, new UpstreamKey(options.ApiKey), trace);

    /// <summary>How the options' upstream is reached.</summary>
    public static UpstreamOptions UpstreamOf(OpenAIOptions options) =>
        UpstreamOf(options, new UpstreamKey(options.ApiKey), trace: null);

    public override string Name => "openai";

    public override string DefaultModel => _options.Model;

    public override bool PassesUnknownParameters => _options.PassUnknown;

    public override void Apply(object options)
    {
        var changed = (OpenAIOptions)options;
        // What did not change may be older than what was read from the file after a 401.
        if (_appliedKey != (changed.ApiKey, changed.ApiKeyFile))
        {
            _appliedKey = (changed.ApiKey, changed.ApiKeyFile);
            _key.Set(changed.ApiKey, changed.ApiKeyFile);
        }

        Renew(changed.TlsFiles);
    }

    protected override ChatRequestBody WriteBody(StreamRequest request)
    {
        var body = new ChatRequestBody(request, request.Model ?? _options.Model, _options.PassUnknown);
        request.ReleasePrompt(body.Length);
        return body;
    }

    protected override ValueTask<HttpRequestMessage> WriteAsync(
        StreamRequest request, ChatRequestBody body) =>
        _writer.WriteAsync(request, body);

    protected override ChunkEvents CreateReader(StreamRequest request) =>
        new(new ChunkReader(_key.Hidden, request.Wanted, request.Unshown));

    private static UpstreamOptions UpstreamOf(
        OpenAIOptions options, UpstreamKey key, UpstreamTrace? trace)
    {
        if (options.NeedsKey)
            ArgumentException.ThrowIfNullOrWhiteSpace(options.ApiKey, nameof(options));
        if (UpstreamProxy.Find(options.ApiBase, options.Environment, out var proxy) is { } problem)
            throw new ArgumentException(problem, nameof(options));
        return new()
        {
            Address = options.ApiBase,
            SocketPath = options.ApiSocket,
            Http2Enabled = options.Http2Enabled,
            Proxy = proxy,
            Resolve = options.Resolve,
            TlsFiles = options.TlsFiles,
            TrustsAnyCertificate = options.InsecureSsl,
            ConnectTimeoutMs = options.ConnectTimeoutMs,
            MaxEventBytes = options.MaxEventBytes,
            Key = key,
            Trace = trace,
            Http1Hint = "set OPENAI_HTTP2_ENABLED=false",
            Http2Hint = "set OPENAI_HTTP2_ENABLED=true",
            ModelHint = "OPENAI_MODEL (openai.model)",
        };
    }
}
