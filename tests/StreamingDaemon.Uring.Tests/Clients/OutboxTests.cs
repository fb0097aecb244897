using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Clients;

public sealed class OutboxTests : IDisposable
{
    private readonly NativeBufferPool _pool = new();
    private Outbox _outbox = new();

    public void Dispose()
    {
        _outbox.Close(_pool);
        Assert.Equal(0, _pool.Rented);
        _pool.Dispose();
    }

    private bool Put(
        string text, StreamEndRequest end = StreamEndRequest.None, bool isInsideFlush = false) =>
        _outbox.Put(_pool, System.Text.Encoding.UTF8.GetBytes(text), end, isInsideFlush);

    private string? Take()
    {
        var bytes = default(NativeBuffer);
        if (!_outbox.TryTake(ref bytes, out _))
            return null;
        var text = System.Text.Encoding.UTF8.GetString(bytes.Bytes);
        _pool.Return(ref bytes);
        return text;
    }

    [Fact]
    public void What_is_put_in_before_the_loop_looks_leaves_together()
    {
        Assert.True(Put("one, "));
        Assert.True(Put("two"));

        Assert.True(_outbox.HasWork);
        Assert.Equal("one, two", Take());
        Assert.False(_outbox.HasWork);
        Assert.Null(Take());
    }

    [Fact]
    public void Bytes_count_as_unsent_until_the_kernel_has_taken_them()
    {
        Put("12345");
        Take();

        Assert.Equal(5, _outbox.Unsent);
        Assert.Equal(2, _outbox.OnSent(3));
        Assert.Equal(2, _outbox.Unsent);
    }

    [Fact]
    public void Only_an_abort_follows_an_end()
    {
        Assert.True(Put("last", StreamEndRequest.Complete));

        Assert.False(Put("more"));
        Assert.True(Put("", StreamEndRequest.Abort));
        Assert.False(Put("", StreamEndRequest.Complete));

        Assert.Equal(StreamEndRequest.Abort, _outbox.EndRequested);
        Assert.Equal("last", Take());
    }

    [Fact]
    public void End_inside_a_flush_is_an_abort_and_adds_nothing()
    {
        Put("half", isInsideFlush: true);

        Put("end", StreamEndRequest.Complete);

        Assert.Equal(StreamEndRequest.Abort, _outbox.EndRequested);
        Assert.Equal("half", Take());
    }

    [Fact]
    public void Closed_outbox_holds_and_takes_nothing_but_remembers_the_end()
    {
        Put("dropped");

        _outbox.Close(_pool);

        Assert.Equal(0, _pool.Rented);
        Assert.False(Put("late", StreamEndRequest.Complete));
        Assert.Equal(StreamEndRequest.Complete, _outbox.EndRequested);
        Assert.Null(Take());
    }

    [Fact]
    public void Stream_is_posted_once_until_it_is_taken()
    {
        Assert.True(_outbox.TryMarkPosted());
        Assert.False(_outbox.TryMarkPosted());

        _outbox.OnTaken();

        Assert.True(_outbox.TryMarkPosted());
    }
}
