using StreamingDaemon.Uring.Shared;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Shared;

public sealed class LoopMailboxTests : IDisposable
{
    private readonly LoopMailbox _mailbox = new();

    public void Dispose() => _mailbox.Dispose();

    [Fact]
    public void Requests_that_were_made_together_are_taken_once()
    {
        _mailbox.Request(LoopRequests.Drain);
        _mailbox.Request(LoopRequests.Trim);
        _mailbox.Request(LoopRequests.Drain);

        Assert.True(_mailbox.HasMail);
        Assert.Equal(LoopRequests.Drain | LoopRequests.Trim, _mailbox.TakeRequests());
        Assert.Equal(LoopRequests.None, _mailbox.TakeRequests());
        Assert.False(_mailbox.HasMail);
    }
}
