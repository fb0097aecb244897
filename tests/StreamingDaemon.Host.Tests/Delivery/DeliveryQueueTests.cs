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
            Add(name);

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
            Add(name);
        _queue.Retry(Take(), dueMs: 1_000);

        Assert.Null(_queue.TryTake(400, out var wait));
        Assert.Equal(600, wait);
        Add(Of("bob"));
        Assert.NotNull(_queue.TryTake(400, out _));
        Assert.NotNull(_queue.TryTake(1_000, out _));
        Assert.Null(_queue.TryTake(1_000, out _));
    }

    [Fact]
    public void Deliveries_without_a_user_wait_for_nobody()
    {
        Add(Of(null));
        Add(Of(null));

        _ = (Take(), Take());
    }

    [Fact]
    public void Backlog_beyond_the_capacity_stays_on_the_disk_and_comes_in_order()
    {
        var all = Enumerable.Range(0, 11).Select(_ => Of(null)).ToList();
        foreach (var name in all)
            Add(name);
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
        Add(known);
        var taken = Take();

        Assert.Equal(3, _queue.Scan([@new, known, old]));
        _queue.Done(taken);
        var second = Take();
        _queue.Done(second);

        Assert.Equal((known, old, @new), (taken.Name, second.Name, Take().Name));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Delivery_that_is_new_comes_behind_older_ones_that_the_next_scan_finds(bool isDuringScan)
    {
        var (old, @new) = (Of("ann"), Of("ann"));
        // Before the directory is read, or meanwhile: what the scan has not seen is for the next one.
        if (isDuringScan)
            _queue.BeginLook();
        _queue.Add(@new);
        Assert.True(_queue.HasNew);
        Assert.Null(_queue.TryTake(0, out _));
        if (isDuringScan)
        {
            _queue.Scan([]);
            Assert.Null(_queue.TryTake(0, out _));
        }

        _queue.BeginLook();
        _queue.Scan([old, @new]);

        Assert.False(_queue.HasNew);
        Assert.Equal([old, @new], Sent(3));
    }

    [Fact]
    public void Delivery_that_is_written_while_a_backlog_is_read_to_its_end_is_not_left_on_the_disk()
    {
        var all = Enumerable.Range(0, 6).Select(_ => Of("ann")).ToList();
        foreach (var name in all)
            Add(name);
        var order = Sent(2);
        Assert.True(_queue.NeedsScan);

        _queue.BeginLook();
        var found = all.Except(order).ToList();
        all.Add(Of("ann"));
        _queue.Add(all[^1]);
        _queue.Scan(found);
        order.AddRange(Sent(4));
        _queue.BeginLook();
        _queue.EndLook();
        order.AddRange(Sent(4));

        Assert.Equal(all, order);
        Assert.False(_queue.NeedsScan);
    }

    [Fact]
    public void Delivery_that_is_new_takes_no_older_ones_place_if_there_is_no_room_for_all()
    {
        for (var i = 0; i < 3; i++)
            Add(Of("bob"));
        var older = Enumerable.Range(0, 5).Select(_ => Of("ann")).ToList();
        var @new = Of("ann");
        _queue.Add(@new);
        _queue.BeginLook();
        _queue.Scan(older);

        var sent = Sent(4);
        Assert.Contains(older[0], sent);
        Assert.DoesNotContain(@new, sent);
        Assert.True(_queue.NeedsScan);
    }

    [Fact]
    public void Delivery_that_an_operator_asks_for_is_due_at_once()
    {
        Add(Of("ann"));
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

    /// <summary>Adds a delivery, with nothing else in the directory.</summary>
    private void Add(SpoolName name)
    {
        _queue.Add(name);
        _queue.BeginLook();
        _queue.EndLook();
    }

    private static SpoolName Of(string? user) => SpoolName.New(user is null ? default : new UserId(user));

    /// <summary>Takes that many, if there are, and is done with each.</summary>
    private List<SpoolName> Sent(int most)
    {
        var sent = new List<SpoolName>();
        while (sent.Count < most && _queue.TryTake(0, out _) is { } next)
        {
            sent.Add(next.Name);
            _queue.Done(next);
        }

        return sent;
    }

    private QueuedDelivery Take() => Assert.IsType<QueuedDelivery>(_queue.TryTake(0, out _));
}
