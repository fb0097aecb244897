using System.Diagnostics;
using StreamingDaemon.Backends.Mock;

namespace StreamingDaemon.Backends.Tests.Mock;

public sealed class DelayWheelTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(50)]
    [InlineData(1100)] // More than one turn of the wheel.
    public async Task Delays_of_a_stream_never_end_before_their_schedule(int milliseconds)
    {
        using var wheel = new DelayWheel(milliseconds);
        using var delay = wheel.CreateDelay(CancellationToken.None);
        var start = Stopwatch.GetTimestamp();
        for (var round = 1; round <= 3; round++)
        {
            await delay.WaitAsync(milliseconds).AsTask().WithinLimit();
            var elapsed = Stopwatch.GetElapsedTime(start);
            Assert.InRange(elapsed.TotalMilliseconds, round * milliseconds,
                3 * TestLimits.Wait.TotalMilliseconds);
        }
    }

    [Fact]
    public void Delay_of_zero_completes_without_yielding()
    {
        using var wheel = new DelayWheel();
        using var delay = wheel.CreateDelay(CancellationToken.None);
        Assert.True(delay.WaitAsync(0).AsTask().IsCompletedSuccessfully);
        Assert.Equal(0, wheel.PendingCount);
    }

    [Fact]
    public async Task Delay_that_ends_alone_wakes_no_other_thread()
    {
        using var wheel = new DelayWheel();
        using var delay = wheel.CreateDelay(CancellationToken.None);
        // On any other thread than the wheel's, what follows the await would run right here.
        await Task.Yield();

        await delay.WaitAsync(5);

        Assert.Equal("mock delays", Thread.CurrentThread.Name);
        // The test goes on elsewhere: the wheel must be free to end.
        await Task.Yield();
    }

    [Fact]
    public async Task Stream_that_finds_no_thread_fails_and_the_next_one_is_given_it()
    {
        var asked = 0;
        using var wheel = new DelayWheel { MayStartThread = () => ++asked > 1 };
        using (var first = wheel.CreateDelay(CancellationToken.None))
            await Assert.ThrowsAnyAsync<OutOfMemoryException>(() => first.WaitAsync(1).AsTask());
        Assert.Equal(0, wheel.PendingCount);

        using var second = wheel.CreateDelay(CancellationToken.None);
        await second.WaitAsync(1).AsTask().WithinLimit();
    }

    [Fact]
    public async Task Ten_thousand_delays_run_at_the_same_time()
    {
        using var wheel = new DelayWheel(shortestMs: 20);
        var start = Stopwatch.GetTimestamp();
        var early = 0;
        var streams = Enumerable.Range(0, 10_000).Select(async index =>
        {
            using var delay = wheel.CreateDelay(CancellationToken.None);
            var milliseconds = 20 + (index % 50);
            var from = Stopwatch.GetTimestamp();
            for (var round = 1; round <= 5; round++)
            {
                await delay.WaitAsync(milliseconds);
                if (Stopwatch.GetElapsedTime(from).TotalMilliseconds < round * milliseconds)
                    Interlocked.Increment(ref early);
            }
        });
        await Task.WhenAll(streams).WithinLimit();

        Assert.Equal(0, early);
        Assert.Equal(0, wheel.PendingCount);
        // One after the other the delays would take 10,000 x 5 x 45 ms: more than half an hour.
        Assert.True(Stopwatch.GetElapsedTime(start) < TestLimits.Wait);
    }

    [Fact]
    public async Task Cancelling_ends_a_delay_in_progress_and_leaves_the_wheel_empty()
    {
        using var wheel = new DelayWheel();
        using var cancellation = new CancellationTokenSource();
        using var delay = wheel.CreateDelay(cancellation.Token);
        var waiting = delay.WaitAsync(60_000).AsTask();
        Assert.Equal(1, wheel.PendingCount);

        await cancellation.CancelAsync();

        var thrown = await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WithinLimit());
        Assert.Equal(cancellation.Token, thrown.CancellationToken);
        Assert.Equal(0, wheel.PendingCount);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => delay.WaitAsync(1).AsTask());
    }

    [Fact]
    public async Task Cancelling_one_delay_leaves_its_neighbours_in_the_same_slot_alone()
    {
        using var wheel = new DelayWheel();
        using var cancellation = new CancellationTokenSource();
        var delays = Enumerable.Range(0, 9)
            .Select(index => wheel.CreateDelay(index % 3 == 1 ? cancellation.Token : CancellationToken.None))
            .ToArray();
        var waiting = delays.Select(delay => delay.WaitAsync(200).AsTask()).ToArray();
        await cancellation.CancelAsync();

        for (var index = 0; index < waiting.Length; index++)
        {
            var wait = waiting[index].WithinLimit();
            if (index % 3 == 1)
                await Assert.ThrowsAnyAsync<OperationCanceledException>(() => wait);
            else
                await wait;
        }

        foreach (var delay in delays)
            delay.Dispose();
    }

    [Fact]
    public async Task Cancelling_at_the_moment_of_expiry_completes_each_delay_exactly_once()
    {
        using var wheel = new DelayWheel();
        var outcomes = await Task.WhenAll(Enumerable.Range(0, 2000).Select(async index =>
        {
            using var cancellation = new CancellationTokenSource(1 + (index % 5));
            using var delay = wheel.CreateDelay(cancellation.Token);
            try
            {
                for (var round = 0; round < 1000; round++)
                    await delay.WaitAsync(1);
                return false;
            }
            catch (OperationCanceledException)
            {
                return true;
            }
        })).WithinLimit();

        Assert.All(outcomes, Assert.True);
        Assert.Equal(0, wheel.PendingCount);
    }

    [Fact]
    public async Task Disposing_the_wheel_cancels_what_waits()
    {
        var wheel = new DelayWheel();
        using var delay = wheel.CreateDelay(CancellationToken.None);
        var waiting = delay.WaitAsync(60_000).AsTask();
        wheel.Dispose();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => waiting.WithinLimit());
    }

    [Fact]
    public async Task Delays_that_end_together_run_in_bursts_that_end_whatever_happens()
    {
        var batch = new CountingBursts();
        using var wheel = new DelayWheel(1, batch);
        async Task WaitAsync(int index)
        {
            using var delay = wheel.CreateDelay(CancellationToken.None);
            // As in a backend: continue inside the work item, not on the test's own thread.
            await delay.WaitAsync(50).ConfigureAwait(false);
            Assert.True(batch.IsOpen);
            if (index % 10 == 0)
                throw new InvalidOperationException("a stream's fault");
        }

        var waiting = Enumerable.Range(0, 200).Select(WaitAsync).ToArray();

        await Assert.ThrowsAsync<InvalidOperationException>(() => Task.WhenAll(waiting).WithinLimit());
        Assert.Equal(20, waiting.Count(wait => wait.IsFaulted));
        // This may be running in the last burst, which ends a moment after what ran in it.
        await Task.Yield();
        Assert.True(SpinWait.SpinUntil(() => batch.Begun == batch.Ended, TestLimits.Wait));
        Assert.InRange(batch.Begun, 1, 199);
    }

    private sealed class CountingBursts : IWriteBatch
    {
        private readonly ThreadLocal<bool> _isOpen = new();
        private int _begun;
        private int _ended;

        public bool IsOpen => _isOpen.Value;

        public int Begun => Volatile.Read(ref _begun);

        public int Ended => Volatile.Read(ref _ended);

        public void BeginBatch()
        {
            _isOpen.Value = true;
            Interlocked.Increment(ref _begun);
        }

        public void EndBatchLater() => EndBatch();

        public void EndBatch()
        {
            _isOpen.Value = false;
            Interlocked.Increment(ref _ended);
        }
    }
}
