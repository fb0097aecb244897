using System.Globalization;
using System.Runtime.Versioning;
using System.Security.Cryptography.X509Certificates;
using StreamingDaemon.Testing;

[assembly: SupportedOSPlatform("linux")]

namespace StreamingDaemon.MockLlm;

/// <summary>
/// An OpenAI-compatible upstream that is never the bottleneck: no JSON, one shared timer, bytes made in
/// advance, and over HTTP/2 its own server, unless requests must be read. <c>POST /v1/chat/completions</c>
/// streams, <c>GET /cpu</c> says what it cost.
/// </summary>
internal sealed class MockLlmServer : IAsyncDisposable
{
    private const UnixFileMode Anyone = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead
        | UnixFileMode.GroupWrite | UnixFileMode.OtherRead | UnixFileMode.OtherWrite;

    private readonly MockLlmOptions _options;
    private readonly Http2Server? _fast;
    private readonly RequestServer? _reading;
    private readonly X509Certificate2? _certificate;
    private long _requests;

    public MockLlmServer(MockLlmOptions options)
    {
        _options = options;
        _certificate = options.IsTls ? SelfSignedCertificate.Create() : null;
        var answers = new Answers(new PaceWheel(), new ChunkScript(options.Chunks, options.TextBytes),
            options.FirstDelayMs, options.DelayMs, () => Interlocked.Increment(ref _requests), () => CpuReport);
        if (options.HttpVersion == 2 && !options.ReadsRequests)
            _fast = new Http2Server(options, answers, _certificate);
        else
            _reading = new RequestServer(options, answers, _certificate);
    }

    /// <summary>The API base for clients.</summary>
    public string BaseAddress
    {
        get
        {
            var host = _options.Socket is null ? $"127.0.0.1:{_fast?.Port ?? _reading!.Port}" : "localhost";
            return $"{(_options.IsTls ? "https" : "http")}://{host}/v1";
        }
    }

    /// <summary>CPU of this process so far, as one line.</summary>
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

    public async Task StartAsync()
    {
        if (_options.Socket is { } path)
            File.Delete(path);
        _fast?.Start();
        if (_reading is not null)
            await _reading.StartAsync();
        if (_options.Socket is { } socket)
            File.SetUnixFileMode(socket, Anyone);
    }

    public async ValueTask DisposeAsync()
    {
        _fast?.Dispose();
        if (_reading is not null)
            await _reading.DisposeAsync();
        _certificate?.Dispose();
        if (_options.Socket is { } path)
            File.Delete(path);
    }
}
