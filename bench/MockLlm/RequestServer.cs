using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using StreamingDaemon.Testing;

namespace StreamingDaemon.MockLlm;

/// <summary>
/// Reads what each request asks for: <c>POST /v1/chat/completions</c> with the header <c>X-Test-Pattern</c>
/// (<see cref="TestPattern"/>), <c>GET /v1/models</c>, <c>GET /health</c>, <c>GET /stats</c>,
/// <c>POST /stats/reset</c>, <c>GET /cpu</c>. Over HTTP/1.1, or HTTP/2 by prior knowledge or ALPN.
/// </summary>
internal sealed class RequestServer : IAsyncDisposable
{
    private const string Pattern = "X-Test-Pattern";
    private const int MaxKeptScripts = 100;

    private readonly MockLlmOptions _options;
    private readonly Answers _answers;
    private readonly X509Certificate2? _certificate;
    private readonly WebApplication _application;
    private readonly ConcurrentDictionary<string, ChunkScript> _scripts = new();
    private long _requests;

    /// <param name="options">Where and how to listen.</param>
    /// <param name="answers">The answers if no pattern is requested, and their timing.</param>
    /// <param name="certificate">For TLS, or null.</param>
    public RequestServer(MockLlmOptions options, Answers answers, X509Certificate2? certificate)
    {
        _options = options;
        _answers = answers;
        _certificate = certificate;
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(Configure);
        _application = builder.Build();
        _application.Run(HandleAsync);
    }

    public int Port => new Uri(_application.Urls.Single()).Port;

    public Task StartAsync() => _application.StartAsync();

    public ValueTask DisposeAsync() => _application.DisposeAsync();

    private void Configure(KestrelServerOptions options)
    {
        options.AddServerHeader = false;
        options.Limits.MinResponseDataRate = null;
        options.Limits.Http2.MaxStreamsPerConnection = _options.MaxStreams;
        if (_options.Socket is { } path)
            options.ListenUnixSocket(path, Configure);
        else
            options.Listen(IPAddress.Loopback, _options.Port, Configure);
    }

    private void Configure(ListenOptions options)
    {
        options.Protocols = _options.HttpVersion == 2 ? HttpProtocols.Http2 : HttpProtocols.Http1;
        if (_certificate is not null)
            options.UseHttps(_certificate);
    }

    private Task HandleAsync(HttpContext context)
    {
        var request = context.Request;
        switch ((request.Method, request.Path.Value))
        {
            case ("POST", "/v1/chat/completions"):
                return StreamAsync(context);
            case ("GET", "/v1/models"):
                return WriteJsonAsync(context, """
                    {"object":"list","data":[{"id":"mock","object":"model","created":0,"owned_by":"mock"}]}
                    """);
            case ("GET", "/health"):
                return WriteJsonAsync(context, """{"status":"ok"}""");
            case ("GET", "/stats"):
                var total = Volatile.Read(ref _requests).ToString(CultureInfo.InvariantCulture);
                return WriteJsonAsync(context, $$"""{"total_requests":{{total}}}""");
            case ("POST", "/stats/reset"):
                Volatile.Write(ref _requests, 0);
                return WriteJsonAsync(context, """{"total_requests":0}""");
            case ("GET", "/cpu"):
                return context.Response.WriteAsync(_answers.Report() + "\n");
            default:
                context.Response.StatusCode = StatusCodes.Status404NotFound;
                return Task.CompletedTask;
        }
    }

    private static Task WriteJsonAsync(HttpContext context, string json)
    {
        context.Response.ContentType = "application/json";
        return context.Response.WriteAsync(json);
    }

    private async Task StreamAsync(HttpContext context)
    {
        Interlocked.Increment(ref _requests);
        _answers.OnRequest();
        try
        {
            // For every request: an unread body would hold the client's HTTP/2 window.
            await context.Request.Body.CopyToAsync(Stream.Null);
            var pace = new StreamPace(_answers.Wheel);
            var response = context.Response;
            response.ContentType = "text/event-stream";
            var pieces = ScriptOf(context).Pieces;
            await pace.WaitAsync(_answers.FirstDelayMs);
            for (var i = 0; i < pieces.Count; i++)
            {
                if (i > 0)
                    await pace.WaitAsync(_answers.DelayMs);
                var flushed = await response.BodyWriter.WriteAsync(pieces[i]);
                if (flushed.IsCompleted || context.RequestAborted.IsCancellationRequested)
                    return;
            }
        }
        catch (Exception exception)
            when (exception is OperationCanceledException or ConnectionAbortedException or IOException)
        {
            // The client left.
        }
    }

    private ChunkScript ScriptOf(HttpContext context)
    {
        var name = context.Request.Headers[Pattern].ToString();
        if (name.Length == 0)
            return _answers.Script;
        context.Response.Headers[Pattern + "-Applied"] = name;
        var pattern = TestPattern.Of(name);
        if (ReferenceEquals(pattern, TestPattern.Default))
            return _answers.Script;
        return _scripts.Count < MaxKeptScripts
            ? _scripts.GetOrAdd(name, static (_, pattern) => new ChunkScript(pattern), pattern)
            : new ChunkScript(pattern);
    }
}
