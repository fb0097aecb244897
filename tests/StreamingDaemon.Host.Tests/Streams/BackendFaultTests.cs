using System.Text;
using Microsoft.Extensions.DependencyInjection;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Host.Commands;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;
using Xunit;

namespace StreamingDaemon.Host.Tests.Streams;

/// <summary>If a backend misbehaves, its client gets an error and other clients do not notice.</summary>
public sealed class BackendFaultTests : IAsyncLifetime
{
    private static readonly byte[] s_token = "token"u8.ToArray();
    private readonly TempDirectory _directory = new();
    private readonly ScriptedBackend _backend = new();
    private DaemonRun _daemon = null!;
    private string _socket = null!;

    public async ValueTask InitializeAsync()
    {
        _socket = _directory.File("s");
        var defaults = new DaemonOptions();
        var options = defaults with
        {
            Server = defaults.Server with { Socket = _socket },
            Timeouts = defaults.Timeouts with
            {
                FirstTokenTimeoutMs = 500,
                IdleTimeoutMs = 500,
                // Long enough for a pool whose threads all block to get a thread for each stream.
                StreamTimeoutMs = 20_000,
                WriteTimeoutMs = 300,
            },
            Logging = defaults.Logging with { Level = "error" },
            Backends = defaults.Backends.With("mock", new MockOptions { DelayMs = 0 }),
        };
        _daemon = new DaemonRun(options, () => options,
            services => services.AddSingleton<IStreamingBackend>(_backend));
        await _daemon.StartAsync(CancellationToken.None);
    }

    public async ValueTask DisposeAsync()
    {
        _daemon.Drain.Begin();
        Assert.Equal(0, await _daemon.WaitAsync(CancellationToken.None).WaitAsync(TestClient.Patience));
        Assert.Equal(0, _daemon.Services.GetRequiredService<HandoffServer>().Statistics.ActiveConnections);
        _daemon.Dispose();
        _directory.Dispose();
    }

    [Fact]
    public async Task Backend_that_blocks_its_thread_holds_neither_its_client_nor_the_others_nor_the_end()
    {
        using var release = new ManualResetEventSlim();
        _backend.Script = (_, _) =>
        {
            release.Wait(CancellationToken.None);
            return Task.FromResult(BackendResult.Completed);
        };
        var blocked = Enumerable.Range(0, 24).Select(_ => AskAsync("scripted")).ToList();
        await Eventually.TrueAsync(() => Volatile.Read(ref _backend.Running) > 0);

        Assert.True(await _daemon.Services.GetRequiredService<HandoffServer>().IsTurningAsync(TestClient.Patience));
        Assert.EndsWith("data: [DONE]\n\n", await AskAsync("mock"), StringComparison.Ordinal);
        foreach (var answer in await Task.WhenAll(blocked))
        {
            // A status before the head, an event after it; both while the backend is still blocked.
            Assert.Contains("error", answer, StringComparison.Ordinal);
            Assert.DoesNotContain("[DONE]", answer, StringComparison.Ordinal);
        }

        await OutcomeAsync("UpstreamTimeout", blocked.Count);
        Assert.False(release.IsSet);
        release.Set();
        await Eventually.TrueAsync(() => Volatile.Read(ref _backend.Running) == 0);
    }

    [Fact]
    public async Task Backend_that_throws_at_once_is_a_500()
    {
        _backend.Script = (_, _) => throw new InvalidOperationException("a defect of the backend's");

        var answer = await AskAsync("scripted");

        Assert.StartsWith("HTTP/1.1 500 ", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("defect", answer, StringComparison.Ordinal);
        await OutcomeAsync("InternalError");
        await OthersDoNotNoticeAsync();
    }

    [Fact]
    public async Task Backend_that_throws_after_the_upstreams_head_and_before_any_text_is_a_500()
    {
        _backend.Script = (sink, _) =>
        {
            sink.OnResponseStarted();
            throw new InvalidOperationException("a defect of the backend's");
        };

        Assert.StartsWith("HTTP/1.1 500 ", await AskAsync("scripted"), StringComparison.Ordinal);

        await OutcomeAsync("InternalError");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Backend_that_throws_after_its_head_is_an_error_event_after_what_it_said(int tokens)
    {
        _backend.Script = async (sink, cancel) =>
        {
            sink.OnResponseStarted();
            for (var i = 0; i < tokens; i++)
                await sink.WriteAsync(new StreamDelta(s_token), cancel);
            throw new InvalidOperationException("a defect of the backend's");
        };

        var answer = await AskAsync("scripted");

        Assert.Equal(tokens, answer.Split("data: {\"content\":\"token\"}\n\n").Length - 1);
        Assert.Contains("data: {\"error\":", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("[DONE]", answer, StringComparison.Ordinal);
        Assert.DoesNotContain("defect", answer, StringComparison.Ordinal);
        await OutcomeAsync("InternalError");
        await OthersDoNotNoticeAsync();
    }

    [Fact]
    public async Task Backend_that_never_ends_and_ignores_its_token_is_left_behind()
    {
        var never = new TaskCompletionSource<BackendResult>();
        _backend.Script = (sink, _) =>
        {
            sink.OnResponseStarted();
            return never.Task;
        };

        var answer = await AskAsync("scripted");

        // Nothing was shown, so it can still be a status.
        Assert.StartsWith("HTTP/1.1 504 ", answer, StringComparison.Ordinal);
        await OutcomeAsync("UpstreamTimeout");
        await OthersDoNotNoticeAsync();
    }

    [Fact]
    public async Task Backend_that_floods_a_client_that_does_not_read_stops_at_the_limit()
    {
        var written = 0L;
        var piece = Encoding.ASCII.GetBytes(new string('x', 16 * 1024));
        _backend.Script = async (sink, cancel) =>
        {
            while (true)
            {
                await sink.WriteAsync(new StreamDelta(piece), cancel);
                Interlocked.Add(ref written, piece.Length);
            }
        };
        using var silent = TestClient.HandOver(_socket, """{"backend":"scripted"}""");

        await OthersDoNotNoticeAsync();
        await OutcomeAsync("SlowClient");
        await Eventually.TrueAsync(() => Volatile.Read(ref _backend.Running) == 0);

        // Fifteen pieces, as events, fit into the daemon's 256 KiB, and one more into what a Unix client may leave in the kernel.
        Assert.InRange(Interlocked.Read(ref written), 15 * piece.Length, 17 * piece.Length);
    }

    [Fact]
    public async Task Backend_that_writes_after_its_stream_reaches_nobody()
    {
        var late = new TaskCompletionSource<Exception?>();
        var go = new TaskCompletionSource();
        _backend.Script = async (sink, _) =>
        {
            sink.OnResponseStarted();
            await go.Task;
            late.SetResult(await Record.ExceptionAsync(
                async () => await sink.WriteAsync(new StreamDelta(s_token), CancellationToken.None)));
            return BackendResult.Completed;
        };
        _ = await AskAsync("scripted");
        // When the old backend wakes up, another client already uses the slot.
        _backend.NextScript = async (sink, cancel) =>
        {
            sink.OnResponseStarted();
            go.SetResult();
            Assert.IsType<OperationCanceledException>(await late.Task, exactMatch: false);
            return BackendResult.Completed;
        };

        var answer = await AskAsync("scripted");

        Assert.EndsWith("\r\n\r\ndata: [DONE]\n\n", answer, StringComparison.Ordinal);
    }

    private async Task OthersDoNotNoticeAsync()
    {
        Assert.True(await _daemon.Services.GetRequiredService<HandoffServer>().IsTurningAsync(TestClient.Patience));
        Assert.EndsWith("data: [DONE]\n\n", await AskAsync("mock"), StringComparison.Ordinal);
    }

    private async Task OutcomeAsync(string outcome, int count = 1)
    {
        var line = $"streaming_daemon_streams_total{{backend=\"scripted\",outcome=\"{outcome}\"}} {count}\n";
        await Eventually.TrueAsync(() =>
        {
            using var text = new MemoryStream();
            _daemon.Services.GetRequiredService<StreamMetrics>().Registry
                .CollectAndExportAsTextAsync(text).GetAwaiter().GetResult();
            return Encoding.UTF8.GetString(text.ToArray()).Contains(line, StringComparison.Ordinal);
        });
    }

    private async Task<string> AskAsync(string backend)
    {
        using var client = TestClient.HandOver(_socket, $$"""{"backend":"{{backend}}"}""");
        return await TestClient.ReadTextAsync(client);
    }

    private sealed class ScriptedBackend : IStreamingBackend
    {
        public int Running;

        public Func<IDeltaSink, CancellationToken, Task<BackendResult>> Script { get; set; } = null!;

        public Func<IDeltaSink, CancellationToken, Task<BackendResult>>? NextScript { get; set; }

        public string Name => "scripted";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            Interlocked.Increment(ref Running);
            try
            {
                return await (NextScript ?? Script)(sink, cancellationToken);
            }
            finally
            {
                Interlocked.Decrement(ref Running);
            }
        }
    }
}
