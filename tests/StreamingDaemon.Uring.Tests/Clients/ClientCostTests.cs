using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Clients;

public sealed class ClientCostTests
{
    private const long ComputesNs = 1_000_000_000;
    private const long QuickNs = 5_000;
    private const int QuickOnesBetween = 20;

    private readonly ClientCost _cost = new();

    [Fact]
    public void Client_is_quick_after_one_call_that_computed_and_not_after_two()
    {
        Add(ComputesNs);
        Assert.True(_cost.IsMostlyQuick);

        Add(ComputesNs);
        Assert.False(_cost.IsMostlyQuick);
    }

    [Fact]
    public void Client_stays_quick_if_packets_of_others_hit_it_now_and_then()
    {
        for (var i = 0; i < 5; i++)
            Add(NetworkCost.CostlyNs);

        Assert.True(_cost.IsMostlyQuick);
    }

    private void Add(long ns)
    {
        _ = _cost.Add(ns);
        for (var i = 0; i < QuickOnesBetween; i++)
            _ = _cost.Add(QuickNs);
    }
}
