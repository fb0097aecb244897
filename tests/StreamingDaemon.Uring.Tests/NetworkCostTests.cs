using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>What the sockets of one network namespace say about each other.</summary>
public sealed class NetworkCostTests
{
    private const long CostlyNs = 20_000_000;

    private readonly NetworkCost _network = new(1) { Clients = 10 };

    [Fact]
    public void Network_is_accused_after_two_costly_calls_and_believed_again_only_by_time()
    {
        _network.AddCostly(CostlyNs, 0);
        Assert.False(_network.IsAccused(0));
        _network.AddCostly(CostlyNs, 0);
        Assert.True(_network.IsAccused(0));

        _network.AddQuick(1);

        Assert.True(_network.IsAccused(1_000));
        Assert.False(_network.IsAccused(4_000));
    }

    [Fact]
    public void Network_with_many_clients_is_hit_more_often_before_it_is_accused()
    {
        _network.Clients = 200;
        for (var i = 0; i < 4; i++)
            _network.AddCostly(CostlyNs, 0);
        Assert.False(_network.IsAccused(0));

        _network.AddCostly(CostlyNs, 0);

        Assert.True(_network.IsAccused(0));
    }

    [Fact]
    public void Network_is_trusted_if_its_calls_were_quick_and_few_were_not()
    {
        Assert.False(_network.IsTrusted(0));
        _network.AddQuick(1);
        Assert.True(_network.IsTrusted(0));

        // 2 ms for each of ten clients.
        _network.AddCostly(CostlyNs, 0);
        Assert.False(_network.IsTrusted(0));

        _network.Clients = 200;
        Assert.True(_network.IsTrusted(0));
    }

    [Fact]
    public void Client_of_which_nothing_is_known_is_expected_to_cost_what_others_of_its_network_did()
    {
        _network.AddCostly(CostlyNs, 0);

        Assert.Equal(CostlyNs / 10, _network.SpentNsPerClient);
    }
}
