using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

public sealed class LoggedRequestIdTests
{
    private readonly char[] _room = new char[64];

    [Fact]
    public void Id_in_the_log_is_the_one_that_the_client_and_the_upstream_get()
    {
        var logFirst = new HandoffRequest();
        var logged = logFirst.LoggedRequestId(_room).ToString();
        Assert.Equal(logged, logFirst.RequestId);
        Assert.Equal(logged, logFirst.LoggedRequestId(_room).ToString());

        var logLast = new HandoffRequest();
        Assert.Equal(logLast.RequestId, logLast.LoggedRequestId(_room).ToString());
        Assert.NotEqual(logged, logLast.RequestId);

        var given = new HandoffRequest { RequestId = new string('x', RequestId.MaxLength) };
        Assert.Equal(given.RequestId, given.LoggedRequestId(_room).ToString());
    }

    [Fact]
    public void Id_that_only_the_log_reads_allocates_nothing()
    {
        var requests = Enumerable.Range(0, 1_000).Select(_ => new HandoffRequest()).ToArray();
        _ = requests[0].LoggedRequestId(_room);

        var before = GC.GetAllocatedBytesForCurrentThread();
        foreach (var request in requests)
            _ = request.LoggedRequestId(_room);

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    [Fact]
    public async Task Threads_that_ask_at_once_get_one_id()
    {
        for (var round = 0; round < 200; round++)
        {
            var request = new HandoffRequest();
            var ids = await Task.WhenAll(Enumerable.Range(0, 4).Select(i => Task.Run(() => i % 2 == 0
                ? request.RequestId : request.LoggedRequestId(new char[64]).ToString())));

            Assert.Single(ids.Distinct());
        }
    }
}
