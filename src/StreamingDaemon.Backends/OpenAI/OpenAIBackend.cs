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
    private readonly ChatRequestWriter _writer;

    /// <exception cref="ArgumentException">There is no key.</exception>
    public OpenAIBackend(OpenAIOptions options, IWriteBatch? batch = null)
        : this(options, new RetryPolicy(options.MaxRetries), batch)
    {
    }

    /// <exception cref="ArgumentException">There is no key.</exception>
    public OpenAIBackend(OpenAIOptions options, RetryPolicy retries, IWriteBatch? batch = null)
        : base(UpstreamOf(options), retries, batch)
    {
        _options = options;
        _writer = new ChatRequestWriter(options);
    }

    public override string Name => "openai";

    public override string DefaultModel => _options.Model;

    public override bool PassesUnknownParameters => _options.PassUnknown;

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
        new(new ChunkReader(_options.ApiKey, request.Wanted));

    private static UpstreamOptions UpstreamOf(OpenAIOptions options)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(options.ApiKey, nameof(options));
        return new()
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
}
