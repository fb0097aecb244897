using StreamingDaemon.Backends;
using StreamingDaemon.Host.Delivery;
using Xunit;

namespace StreamingDaemon.Host.Tests.Delivery;

public sealed class DeliveryQueueTests
{
    private readonly DeliveryQueue _queue = new(capacity: 4);

    [Fact]
    public void Deliveries_of_one_user_go_one_after_the_other_in_order()
    {
        var (first, second, other) = (Of("ann"), Of("ann"), Of("bob"));
        foreach (var name in (SpoolName[])[first, second, other])
            _queue.Add(name);

        var sent = Take();
        Assert.Equal((first, other), (sent.Name, Take().Name));
        Assert.Null(_queue.TryTake(0, out var wait));
        Assert.Equal(-1, wait);

        _queue.Done(sent);
        Assert.Equal(second, Take().Name);
    }

    [Fact]
    public void Delivery_that_fails_holds_up_its_user_and_nobody_else()
    {
        foreach (var name in (SpoolName[])[Of("ann"), Of("ann")])
            _queue.Add(name);
        _queue.Retry(Take(), dueMs: 1_000);

        Assert.Null(_queue.TryTake(400, out var wait));
        Assert.Equal(600, wait);
        _queue.Add(Of("bob"));
        Assert.NotNull(_queue.TryTake(400, out _));
        Assert.NotNull(_queue.TryTake(1_000, out _));
        Assert.Null(_queue.TryTake(1_000, out _));
    }

    [Fact]
    public void Deliveries_without_a_user_wait_for_nobody()
    {
        _queue.Add(Of(null));
        _queue.Add(Of(null));

        _ = (Take(), Take());
    }

    [Fact]
    public void Backlog_beyond_the_capacity_stays_on_the_disk_and_comes_in_order()
    {
        var all = Enumerable.Range(0, 11).Select(_ => Of(null)).ToList();
        foreach (var name in all)
            _queue.Add(name);
        Assert.Equal(4, _queue.Count);
        Assert.False(_queue.NeedsScan);

        var order = new List<SpoolName>();
        while (_queue.TryTake(0, out _) is { } next)
        {
            order.Add(next.Name);
            _queue.Done(next);
            if (_queue.NeedsScan)
                Assert.Equal(all.Count - order.Count, _queue.Scan(all.Except(order).Reverse()));
        }

        Assert.Equal(all, order);
        Assert.False(_queue.NeedsScan);
    }

    [Fact]
    public void Scan_adds_what_another_process_wrote_and_nothing_twice()
    {
        var (old, known, @new) = (Of("ann"), Of("ann"), Of("ann"));
        _queue.Add(known);
        var taken = Take();

        Assert.Equal(3, _queue.Scan([@new, known, old]));
        _queue.Done(taken);
        var second = Take();
        _queue.Done(second);

        Assert.Equal((known, old, @new), (taken.Name, second.Name, Take().Name));
    }

    [Fact]
    public void Delivery_that_an_operator_asks_for_is_due_at_once()
    {
        _queue.Add(Of("ann"));
        var failed = Take();
        failed.Attempts = 3;
        _queue.Retry(failed, dueMs: 1_000_000);

        _queue.Hasten(_queue.Failed().Select(name => name.Id).ToHashSet());

        Assert.Equal(0, Take().Attempts);
    }

    [Theory]
    [InlineData("0006263f2e4b1c00-0000000000000007-msg_0123456789abcdef0123456789abcdef.json", true)]
    [InlineData("0006263f2e4b1c00-0000000000000007-msg_0123456789abcdef0123456789abcdef.tmp", false)]
    [InlineData("0006263f2e4b1c00-0000000000000007-msg_0123456789ABCDEF0123456789abcdef.json", false)]
    [InlineData("8006263f2e4b1c00-0000000000000007-msg_0123456789abcdef0123456789abcdef.json", false)]
    // No clock says the year 10000.
    [InlineData("7fffffffffffffff-0000000000000007-msg_0123456789abcdef0123456789abcdef.json", false)]
    [InlineData("0384440ccc736000-0000000000000007-msg_0123456789abcdef0123456789abcdef.json", false)]
    [InlineData("0384440ccc735fff-0000000000000007-msg_0123456789abcdef0123456789abcdef.json", true)]
    [InlineData("notes.json", false)]
    public void Only_names_of_deliveries_are_read(string file, bool isOne)
    {
        Assert.Equal(isOne, SpoolName.TryParse(file, SpoolName.Extension, out var name));
        if (isOne)
            Assert.Equal((file, true), (name.FileName, name.AcceptedAt > DateTimeOffset.UnixEpoch));
    }

    [Fact]
    public void Names_after_a_clock_was_set_back_come_after_those_before()
    {
        var before = Of("ann") with { Order = Of("ann").Order + (3600L * 1_000_000) };
        var absurd = before with { Order = before.Order * 10 };

        SpoolName.StartAfter([absurd, before, Of("ann")]);

        Assert.InRange(Of("ann").Order, before.Order + 1, absurd.Order - 1);
    }

    private static SpoolName Of(string? user) => SpoolName.New(user is null ? default : new UserId(user));

    private QueuedDelivery Take() => Assert.IsType<QueuedDelivery>(_queue.TryTake(0, out _));
}
