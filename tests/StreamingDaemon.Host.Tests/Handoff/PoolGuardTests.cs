using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

public sealed class PoolGuardTests
{
    private readonly PoolGuard _guard = new();

    [Fact]
    public void Pool_that_has_work_and_does_none_is_stuck()
    {
        Assert.False(_guard.IsStuck(pending: 3, completed: 10));
        Assert.False(_guard.IsStuck(pending: 3, completed: 10));
        Assert.True(_guard.IsStuck(pending: 3, completed: 10));
    }

    [Fact]
    public void Pool_that_is_slow_is_not_stuck()
    {
        for (var completed = 10; completed < 20; completed++)
            Assert.False(_guard.IsStuck(pending: 1_000, completed));
    }

    [Fact]
    public void Pool_without_work_is_not_stuck()
    {
        for (var look = 0; look < 10; look++)
            Assert.False(_guard.IsStuck(pending: 0, completed: 10));
    }

    [Fact]
    public void After_threads_were_added_they_get_their_time()
    {
        for (var look = 0; look < 3; look++)
            _guard.IsStuck(pending: 3, completed: 10);

        Assert.False(_guard.IsStuck(pending: 3, completed: 10));
        Assert.True(_guard.IsStuck(pending: 3, completed: 10));
    }
}
