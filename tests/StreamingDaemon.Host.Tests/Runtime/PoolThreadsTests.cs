using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;
using Xunit;

namespace StreamingDaemon.Host.Tests.Runtime;

/// <summary>Runs alone, because a process has only one thread pool.</summary>
[CollectionDefinition(nameof(PoolThreadsTests), DisableParallelization = true)]
[Collection(nameof(PoolThreadsTests))]
public sealed class PoolThreadsTests : IDisposable
{
    private readonly ManualResetEventSlim _end = new();

    public void Dispose()
    {
        _end.Set();
        PoolThreads.MayStartThread = null;
        PoolThreads.End();
    }

    /// <summary>Not async, because no worker is left for the test.</summary>
    [Fact]
    public void Pool_whose_workers_all_block_grows_if_the_system_gives_threads_and_only_then()
    {
        var workers = ThreadPool.ThreadCount + 4;
        PoolThreads.Begin(workers);
        Assert.InRange(ThreadPool.ThreadCount, workers, int.MaxValue);
        workers = ThreadPool.ThreadCount;
        PoolThreads.MayStartThread = () => false;
        for (var i = 0; i < workers + 8; i++)
            ThreadPool.UnsafeQueueUserWorkItem(_ => _end.Wait(TestClient.Patience), null);

        PoolThreads.SetGoal(workers + 8);
        PoolThreads.Look(workers, pending: 8);

        ThreadPool.GetMaxThreads(out var most, out _);
        Assert.InRange(most, 1, workers);
        Assert.Equal(workers, ThreadPool.ThreadCount);

        PoolThreads.MayStartThread = null;
        PoolThreads.SetGoal(workers + 8);

        Assert.True(SpinWait.SpinUntil(() => ThreadPool.ThreadCount == workers + 8, TestClient.Patience));
    }

    [Fact]
    public void Start_that_is_refused_the_pools_threads_says_so()
    {
        PoolThreads.MayStartThread = () => false;

        var refused = Assert.Throws<HandoffServerException>(() => PoolThreads.Begin(4));

        Assert.StartsWith("the system refuses the thread \".NET TP Worker\". Raise its limit", refused.Message);
    }
}
