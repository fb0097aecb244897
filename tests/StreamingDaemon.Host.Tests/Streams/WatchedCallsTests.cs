using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Streams;
using StreamingDaemon.Uring;
using Xunit;

namespace StreamingDaemon.Host.Tests.Streams;

public class WatchedCallsTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(256)]
    [InlineData(257)]
    [InlineData(1000)]
    public async Task Deadline_holds_for_every_one_of_many_streams(int streams)
    {
        using var watchdog = Watchdog();
        var calls = Enumerable.Range(0, streams).Select(_ => new Call(watchdog, endsAtOnce: false)).ToList();
        calls.ForEach(watchdog.Add);

        await Task.WhenAll(calls.Select(call => call.Fired)).WaitAsync(TimeSpan.FromSeconds(30));

        Assert.All(calls, call => Assert.Equal(StreamOutcome.StreamTimeout, call.CancelOutcome));
    }

    [Fact]
    public async Task Stream_that_moves_as_others_end_is_not_overlooked()
    {
        using var watchdog = Watchdog();
        var calls = Enumerable.Range(0, 1000).Select(_ => new Call(watchdog, endsAtOnce: true)).ToList();
        calls.ForEach(watchdog.Add);

        await Task.WhenAll(calls.Select(call => call.Fired)).WaitAsync(TimeSpan.FromSeconds(30));

        Assert.All(calls, call => Assert.Equal(1, call.Fires));
    }

    private static StreamWatchdog Watchdog() => new(
        new ReloadableOptions(new DaemonOptions { Timeouts = new TimeoutOptions { StreamTimeoutMs = 100 } }),
        new ThreadPoolTuner());

    private sealed class Call(StreamWatchdog watchdog, bool endsAtOnce)
        : UpstreamCall(new HandoffRequest(), null!, null!)
    {
        private readonly CancellationTokenSource _cancelled = new();
        private readonly TaskCompletionSource _fired = new();

        public Task Fired => _fired.Task;

        public int Fires { get; private set; }

        public override CancellationToken Cancelled => _cancelled.Token;

        public override bool HeadSent => true;

        public override ValueTask<ClientEnd> Ended => throw new NotSupportedException();

        protected override bool IsGone => false;

        protected override void FireCancelled()
        {
            Fires++;
            _cancelled.Cancel();
            if (endsAtOnce)
                watchdog.Remove(this);
            _fired.TrySetResult();
        }

        public override void EnsureHead() => throw new NotSupportedException();

        public override void Finish(BackendResult result, ErrorResponse? error) =>
            throw new NotSupportedException();

        public override void Report(BackendResult result, ClientEnd end) => throw new NotSupportedException();

        public override void OnRetry(UpstreamFault fault) => throw new NotSupportedException();

        public override ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken) =>
            throw new NotSupportedException();
    }
}
