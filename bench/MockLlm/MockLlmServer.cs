using System.Globalization;
using System.Net;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using StreamingDaemon.Testing;

namespace StreamingDaemon.MockLlm;

/// <summary>
/// An OpenAI-compatible upstream that is never the bottleneck: no routing, no JSON, one shared timer, bytes
/// made beforehand, and over HTTP/2 no server either but its own. <c>POST /v1/chat/completions</c> streams,
/// <c>GET /cpu</c> says what it cost.
/// </summary>
internal sealed class MockLlmServer : IAsyncDisposable
{
    private readonly MockLlmOptions _options;
    private readonly ChunkScript _script;
    private readonly PaceWheel _wheel = new();
    private readonly Http2Server? _http2;
    private readonly WebApplication? _http1;
    private readonly X509Certificate2? _certificate;
    private long _requests;

    public MockLlmServer(MockLlmOptions options)
    {
        _options = options;
        _script = new ChunkScript(options.Chunks, options.TextBytes);
        _certificate = options.IsTls ? SelfSignedCertificate.Create() : null;
        if (options.HttpVersion == 2)
        {
            _http2 = new Http2Server(options, new Http2Answers(_wheel, _script, options.FirstDelayMs,
                options.DelayMs, () => Interlocked.Increment(ref _requests), () => CpuReport), _certificate);
            return;
        }

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(Configure);
        _http1 = builder.Build();
        _http1.Run(HandleAsync);
    }

    /// <summary>What a client takes as its API base.</summary>
    public string BaseAddress
    {
        get
        {
            var port = _http2?.Port ?? new Uri(_http1!.Urls.Single()).Port;
            return $"{(_options.IsTls ? "https" : "http")}://127.0.0.1:{port}/v1";
        }
    }

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

    public Task StartAsync()
    {
        _http2?.Start();
        return _http1?.StartAsync() ?? Task.CompletedTask;
    }

    public async ValueTask DisposeAsync()
    {
        _http2?.Dispose();
        if (_http1 is not null)
            await _http1.DisposeAsync();
        _certificate?.Dispose();
    }

    private void Configure(KestrelServerOptions options)
    {
        options.AddServerHeader = false;
        options.Limits.MinResponseDataRate = null;
        options.Listen(IPAddress.Loopback, _options.Port, listen =>
        {
            listen.Protocols = HttpProtocols.Http1;
            if (_certificate is not null)
                listen.UseHttps(_certificate);
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
