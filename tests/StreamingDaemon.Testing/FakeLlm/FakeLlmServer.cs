using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using System.Text;
using System.Threading.Channels;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Logging;

namespace StreamingDaemon.Testing;

/// <summary>How the fake upstream listens.</summary>
public enum FakeLlmTransport
{
    /// <summary>TCP, HTTP/1.1 without TLS.</summary>
    Http1,

    /// <summary>TCP, HTTP/2 with prior knowledge, without TLS.</summary>
    H2c,

    /// <summary>TCP, TLS with a self-signed certificate; ALPN offers h2 and http/1.1.</summary>
    Http2Tls,

    /// <summary>TCP, TLS with a self-signed certificate; HTTP/1.1 only.</summary>
    Http1Tls,

    /// <summary>Unix socket, HTTP/1.1.</summary>
    UnixHttp1,

    /// <summary>Unix socket, HTTP/2 with prior knowledge.</summary>
    UnixH2c,

    /// <summary>Unix socket with TLS on top; ALPN offers h2 and http/1.1.</summary>
    UnixTls,
}

/// <summary>
/// A Kestrel server that answers POST /v1/chat/completions, or Azure's path, like an LLM, and records its
/// requests. Each server listens in one way. Safe for concurrent requests.
/// </summary>
public sealed class FakeLlmServer : IAsyncDisposable
{
    private readonly WebApplication _app;
    private readonly X509Certificate2? _certificate;
    private readonly ConcurrentDictionary<string, ConnectionContext> _connections = new();
    private readonly int _streamsPerConnection;
    private int _connectionsSoFar;
    private readonly ConcurrentQueue<FakeLlmRequest> _requests = new();
    private readonly Channel<FakeLlmRequest> _arrivals = Channel.CreateUnbounded<FakeLlmRequest>();

    private FakeLlmServer(FakeLlmTransport transport, int streamsPerConnection)
    {
        _streamsPerConnection = streamsPerConnection;
        Transport = transport;
        if (transport is FakeLlmTransport.UnixHttp1 or FakeLlmTransport.UnixH2c or FakeLlmTransport.UnixTls)
            SocketPath = Path.Combine(Path.GetTempPath(), $"llm-{Guid.NewGuid():N}.sock");
        if (IsTls)
            _certificate = SelfSignedCertificate.Create();

        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.UseKestrelHttpsConfiguration();
        builder.WebHost.ConfigureKestrel(Configure);
        _app = builder.Build();
        _app.MapPost("/v1/chat/completions", AnswerAsync);
        _app.MapGet("/v1/models", () => Models is { } json
            ? Results.Text(json, "application/json") : Results.NotFound());
        _app.MapPost("/openai/deployments/{deployment}/chat/completions", AnswerAsync);
    }

    /// <summary>How this server listens.</summary>
    public FakeLlmTransport Transport { get; }

    /// <summary>The API base for a client, with the version segment and without a final slash.</summary>
    public Uri BaseAddress { get; private set; } = new("http://localhost/v1");

    /// <summary>The Unix socket's path, null on TCP.</summary>
    public string? SocketPath { get; }

    /// <summary>Writes the answers. May be set between requests.</summary>
    public Func<FakeLlmExchange, Task> Scenario { get; set; } = FakeLlmScenarios.RunAsync;

    /// <summary>The answer to GET /v1/models (JSON); null is a 404.</summary>
    public string? Models { get; set; }

    /// <summary>Milliseconds between the chunks of the built-in scenarios.</summary>
    public int ChunkDelayMs { get; set; }

    /// <summary>If true, request bodies are read but not recorded: for load tests, and for tests of the
    /// memory that others hold.</summary>
    public bool ForgetsBodies { get; set; }

    /// <summary>All requests so far, oldest first.</summary>
    public IReadOnlyCollection<FakeLlmRequest> Requests => _requests;

    /// <summary>Connections that are open now, TLS included.</summary>
    public int OpenConnections => _connections.Count;

    /// <summary>Number of connections so far, without those whose TLS handshake failed.</summary>
    public int ConnectionsSoFar => Volatile.Read(ref _connectionsSoFar);

    private bool IsTls => Transport
        is FakeLlmTransport.Http2Tls or FakeLlmTransport.Http1Tls or FakeLlmTransport.UnixTls;

    /// <summary>Starts a server; its scenario is the default one until set.</summary>
    public static async Task<FakeLlmServer> StartAsync(
        FakeLlmTransport transport = FakeLlmTransport.Http1, int streamsPerConnection = 100)
    {
        var server = new FakeLlmServer(transport, streamsPerConnection);
        await server._app.StartAsync();
        server.BaseAddress = server.FindBaseAddress();
        return server;
    }

    /// <summary>Waits for the next request and returns it; each request is returned once.</summary>
    /// <exception cref="TimeoutException">None came within <paramref name="limit"/>.</exception>
    public async Task<FakeLlmRequest> NextRequestAsync(TimeSpan limit) =>
        await _arrivals.Reader.ReadAsync().AsTask().WaitAsync(limit);

    /// <summary>Ends all connections, also those in use.</summary>
    public void AbortConnections()
    {
        foreach (var connection in _connections.Values)
            connection.Abort();
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        // Open streams would delay a graceful stop until its timeout.
        using var now = new CancellationTokenSource();
        await now.CancelAsync();
        try
        {
            await _app.StopAsync(now.Token);
        }
        catch (OperationCanceledException)
        {
            // Expected.
        }

        await _app.DisposeAsync();
        _certificate?.Dispose();
        if (SocketPath is not null)
            File.Delete(SocketPath);
    }

    private void Configure(KestrelServerOptions options)
    {
        options.AddServerHeader = false;
        // A scenario may be slow to read or to write on purpose.
        options.Limits.MinRequestBodyDataRate = null;
        options.Limits.MinResponseDataRate = null;
        options.Limits.Http2.MaxStreamsPerConnection = _streamsPerConnection;
        if (SocketPath is not null)
            options.ListenUnixSocket(SocketPath, Listen);
        else
            options.Listen(System.Net.IPAddress.Loopback, 0, Listen);
    }

    private void Listen(ListenOptions listen)
    {
        listen.Protocols = Transport switch
        {
            FakeLlmTransport.H2c or FakeLlmTransport.UnixH2c => HttpProtocols.Http2,
            FakeLlmTransport.Http2Tls or FakeLlmTransport.UnixTls => HttpProtocols.Http1AndHttp2,
            _ => HttpProtocols.Http1,
        };
        // Faults end the connection itself, below TLS and HTTP.
        listen.Use(next => connection =>
        {
            connection.Items[typeof(ConnectionContext)] = connection;
            return next(connection);
        });
        if (_certificate is not null)
            listen.UseHttps(_certificate);
        listen.Use(next => async connection =>
        {
            Interlocked.Increment(ref _connectionsSoFar);
            _connections[connection.ConnectionId] = connection;
            try
            {
                await next(connection);
            }
            finally
            {
                _connections.TryRemove(connection.ConnectionId, out _);
            }
        });
    }

    private Uri FindBaseAddress()
    {
        var scheme = IsTls ? "https" : "http";
        if (SocketPath is not null)
            return new Uri($"{scheme}://localhost/v1");
        return new Uri($"{scheme}://127.0.0.1:{new Uri(_app.Urls.Single()).Port}/v1");
    }

    private async Task AnswerAsync(HttpContext context)
    {
        var request = new FakeLlmRequest(context, await ReadBodyAsync(context.Request.Body));
        _requests.Enqueue(request);
        _arrivals.Writer.TryWrite(request);
        try
        {
            await Scenario(new FakeLlmExchange(context, request, ChunkDelayMs));
        }
        catch (Exception exception)
            when (exception is OperationCanceledException or ConnectionAbortedException or IOException)
        {
            // The caller left before the end; Aborted reports it.
        }
        finally
        {
            request.OnEnded();
        }
    }

    private async Task<string> ReadBodyAsync(Stream body)
    {
        if (ForgetsBodies)
        {
            await body.CopyToAsync(Stream.Null);
            return "";
        }

        using var reader = new StreamReader(body, Encoding.UTF8);
        return await reader.ReadToEndAsync();
    }
}
