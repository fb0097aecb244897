using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Runtime;

public sealed class MemoryTrimmerTests : IDisposable
{
    private readonly MemoryTrimmer _trimmer = new(new HandoffServer(new HandoffServerOptions { SocketPath = "/x" },
        new NoHandler()));

    public void Dispose() => _trimmer.Dispose();

    /// <summary>Lets the start's own memory be given back first.</summary>
    private void EndStart()
    {
        Assert.False(Look(active: 0));
        Assert.True(Look(active: 0));
    }

    private bool Look(int active, int peak = 0) => _trimmer.IsBurstOver(active, Math.Max(active, peak));

    [Fact]
    public void Memory_is_given_back_once_a_burst_stays_over_and_only_once()
    {
        EndStart();
        Assert.False(Look(active: 1_000));
        Assert.False(Look(active: 100));
        Assert.True(Look(active: 100));
        Assert.False(Look(active: 100));
        Assert.False(Look(active: 0));
    }

    [Fact]
    public void A_burst_between_two_looks_counts()
    {
        EndStart();
        Assert.False(Look(active: 0, peak: 1_000));
        Assert.True(Look(active: 0));
    }

    [Fact]
    public void While_streams_come_again_nothing_is_given_back()
    {
        EndStart();
        for (var i = 0; i < 10; i++)
        {
            Assert.False(Look(active: 1_000));
            Assert.False(Look(active: 0));
        }
    }

    [Fact]
    public void A_few_streams_are_no_burst()
    {
        EndStart();
        Assert.False(Look(active: 63));
        for (var i = 0; i < 5; i++)
            Assert.False(Look(active: 0));
    }

    [Fact]
    public void What_the_start_left_is_given_back_once_even_if_nobody_came()
    {
        EndStart();
        for (var i = 0; i < 5; i++)
            Assert.False(Look(active: 0));
    }

    [Fact]
    public void Memory_is_given_back_after_a_flood_of_handoffs_although_streams_go_on()
    {
        Assert.False(_trimmer.IsFloodOver(100));
        Assert.False(_trimmer.IsFloodOver(20_100));
        Assert.False(_trimmer.IsFloodOver(40_100));
        Assert.False(_trimmer.IsFloodOver(40_200));
        Assert.True(_trimmer.IsFloodOver(40_300));
        Assert.False(_trimmer.IsFloodOver(40_400));
    }

    [Fact]
    public void Nothing_is_given_back_during_a_flood_nor_twice_within_two_minutes()
    {
        var (handoffs, trims) = (0L, 0);
        for (var look = 0; look < 24; look++)
        {
            // Ten seconds of a flood, and ten of calm.
            handoffs += look % 4 < 2 ? 10_000 : 0;
            var isOver = _trimmer.IsFloodOver(handoffs);
            Assert.False(isOver && look % 4 < 2);
            trims += isOver ? 1 : 0;
        }

        Assert.Equal(1, trims);
    }

    [Fact]
    public void A_steady_load_is_no_flood()
    {
        for (var look = 1; look < 50; look++)
            Assert.False(_trimmer.IsFloodOver(look * (look % 2 == 0 ? 900 : 899)));
    }

    [Fact]
    public void Memory_is_short_above_the_alarm_and_then_not_again_for_two_looks()
    {
        var memory = new MemoryBudget(168 << 20, 0);
        memory.Hold(100 << 20);
        var alarm = MemoryLimit.AlarmBytes(memory.Limit);
        Assert.Equal(224 << 20, alarm);

        Assert.False(_trimmer.IsMemoryShort(memory, alarm));
        Assert.True(_trimmer.IsMemoryShort(memory, alarm + 1));
        Assert.False(_trimmer.IsMemoryShort(memory, alarm + 1));
        Assert.False(_trimmer.IsMemoryShort(memory, alarm + 1));
        Assert.True(_trimmer.IsMemoryShort(memory, alarm + 1));
    }

    /// <summary>Then it is not the streams that take it, and a collection would free nothing of it.</summary>
    [Fact]
    public void Memory_that_streams_do_not_hold_is_no_alarm()
    {
        var memory = new MemoryBudget(168 << 20, 0);
        memory.Hold(84 << 20);

        Assert.False(_trimmer.IsMemoryShort(memory, long.MaxValue));
    }

    private sealed class NoHandler : IHandoffHandler
    {
        public Task HandleAsync(ClientStream client) => Task.CompletedTask;

        public void OnFault(ClientStream client, Exception exception)
        {
        }

        public void OnRejected(HandoffRejection reason, HandoffPeer peer)
        {
        }
    }
}
