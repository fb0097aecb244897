using Microsoft.Extensions.Logging.Abstractions;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Hosting;

public sealed class OptionsReloaderTests : IDisposable
{
    private static readonly DaemonOptions s_defaults = new();
    private readonly ReloadableOptions _options = new(s_defaults);
    private readonly DrainSignal _drain = new();
    private readonly ServiceNotifier _notifier = new();
    private readonly SemaphoreSlim _mayRead = new(0);
    private readonly OptionsReloader _reloader;
    private int _content;
    private int _begun;

    public OptionsReloaderTests() => _reloader = new OptionsReloader(
        _options, Read, _drain, _notifier, Metrics(), NullLogger<OptionsReloader>.Instance);

    public void Dispose()
    {
        _reloader.Dispose();
        _notifier.Dispose();
    }

    [Fact]
    public async Task Requests_during_a_reload_are_one_more_after_it_which_sees_the_newest_content()
    {
        Volatile.Write(ref _content, 1);
        _reloader.Request();
        await BegunAsync(1);
        for (var i = 2; i <= 50; i++)
        {
            Volatile.Write(ref _content, i);
            _reloader.Request();
        }

        _mayRead.Release();
        await BegunAsync(2);
        Assert.Equal(1, Idle);
        _mayRead.Release();
        await Eventually.TrueAsync(() => Idle == 50);

        // There was no third read: the next read belongs to the next request.
        Volatile.Write(ref _content, 51);
        _reloader.Request();
        await BegunAsync(3);
        _mayRead.Release();
        await Eventually.TrueAsync(() => Idle == 51);
        Assert.Equal(3, Volatile.Read(ref _begun));
    }

    [Fact]
    public async Task Request_during_the_drain_reads_nothing()
    {
        _drain.Begin();
        _reloader.Request();

        var other = new OptionsReloader(_options, () => s_defaults with
        {
            Timeouts = s_defaults.Timeouts with { IdleTimeoutMs = 7 },
        }, new DrainSignal(), _notifier, Metrics(), NullLogger<OptionsReloader>.Instance);
        other.Request();
        await Eventually.TrueAsync(() => Idle == 7);

        Assert.Equal(0, Volatile.Read(ref _begun));
        other.Dispose();
    }

    private static ReloadMetrics Metrics() => new(new StreamMetrics(s_defaults));

    private int Idle => _options.Current.Timeouts.IdleTimeoutMs;

    private Task BegunAsync(int readings) => Eventually.TrueAsync(() => Volatile.Read(ref _begun) == readings);

    /// <summary>Reads the content at once, but returns it only when the test allows it.</summary>
    private DaemonOptions Read()
    {
        var seen = Volatile.Read(ref _content);
        Interlocked.Increment(ref _begun);
        Assert.True(_mayRead.Wait(TestClient.Patience));
        return s_defaults with { Timeouts = s_defaults.Timeouts with { IdleTimeoutMs = seen } };
    }
}
