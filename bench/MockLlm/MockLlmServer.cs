using System.Globalization;
using System.Net;
using System.Text;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using StreamingDaemon.Testing;

namespace StreamingDaemon.MockLlm;

/// <summary>
/// An OpenAI-compatible upstream that is never the bottleneck: no routing, no JSON, one shared timer, bytes
/// made beforehand. <c>POST /v1/chat/completions</c> streams, <c>GET /cpu</c> says what it cost.
/// </summary>
internal sealed class MockLlmServer : IAsyncDisposable
{
    private readonly MockLlmOptions _options;
    private readonly ChunkScript _script;
    private readonly PaceWheel _wheel = new();
    private readonly WebApplication _app;
    private long _requests;

    public MockLlmServer(MockLlmOptions options)
    {
        _options = options;
        _script = new ChunkScript(options.Chunks, options.TextBytes);
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(Configure);
        _app = builder.Build();
        _app.Run(HandleAsync);
    }

    /// <summary>What a client takes as its API base.</summary>
    public string BaseAddress => new UriBuilder(_app.Urls.Single()) { Path = "/v1" }.Uri.ToString();

    /// <summary>CPU of this process so far, in a line.</summary>
    public string CpuReport
    {
        get
        {
            var usage = Environment.CpuUsage;
            return string.Create(CultureInfo.InvariantCulture,
                $"requests={Volatile.Read(ref _requests)} user_seconds={usage.UserTime.TotalSeconds:0.000} "
                + $"system_seconds={usage.PrivilegedTime.TotalSeconds:0.000} "
                + $"collections={GC.CollectionCount(0)},{GC.CollectionCount(1)},{GC.CollectionCount(2)} "
                + $"pause_seconds={GC.GetTotalPauseDuration().TotalSeconds:0.000}");
        }
    }

    public Task StartAsync() => _app.StartAsync();

    /// <summary>Until SIGTERM or SIGINT.</summary>
    public Task WaitForShutdownAsync() => _app.WaitForShutdownAsync();

    public ValueTask DisposeAsync() => _app.DisposeAsync();

    private void Configure(KestrelServerOptions options)
    {
        options.AddServerHeader = false;
        options.Limits.MinResponseDataRate = null;
        options.Limits.Http2.MaxStreamsPerConnection = _options.MaxStreams;
        options.Listen(IPAddress.Loopback, _options.Port, listen =>
        {
            // Without TLS nothing tells the versions apart on a port (RFC 9113, 3.3: prior knowledge).
            listen.Protocols = _options.HttpVersion == 1 ? HttpProtocols.Http1
                : _options.IsTls ? HttpProtocols.Http1AndHttp2 : HttpProtocols.Http2;
            if (_options.IsTls)
                listen.UseHttps(SelfSignedCertificate.Create());
        });
    }

    private Task HandleAsync(HttpContext context)
    {
        var request = context.Request;
        if (HttpMethods.IsPost(request.Method) && request.Path == "/v1/chat/completions")
            return StreamAsync(context);
        if (HttpMethods.IsGet(request.Method) && request.Path == "/cpu")
            return context.Response.Body.WriteAsync(Encoding.ASCII.GetBytes(CpuReport + "\n")).AsTask();
        context.Response.StatusCode = StatusCodes.Status404NotFound;
        return Task.CompletedTask;
    }

    private async Task StreamAsync(HttpContext context)
    {
        Interlocked.Increment(ref _requests);
        try
        {
            // Whatever it asks for: an unread body would hold the client's HTTP/2 window.
            await context.Request.Body.CopyToAsync(Stream.Null);
            var pace = new StreamPace(_wheel);
            var response = context.Response;
            response.ContentType = "text/event-stream";
            await pace.WaitAsync(_options.FirstDelayMs);
            for (var i = 0; i < _script.Pieces.Count; i++)
            {
                if (i > 0)
                    await pace.WaitAsync(_options.DelayMs);
                var flushed = await response.BodyWriter.WriteAsync(_script.Pieces[i]);
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
}
