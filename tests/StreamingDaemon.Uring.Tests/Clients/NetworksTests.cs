using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Clients;

/// <summary>The accounts of the network namespaces that clients are in.</summary>
public sealed class NetworksTests
{
    private const int MostIdle = 64;
    private const long CostlyNs = 20_000_000;

    private readonly Networks _networks = new(cookie => (ulong)cookie);

    [Fact]
    public void Namespace_without_a_client_stays_known_if_it_was_quick_and_cost_nothing()
    {
        var quick = Enter(1, isQuick: true);
        var unproven = Enter(2);
        var costly = Enter(3, isQuick: true);
        costly.AddCostly(CostlyNs, 0);
        foreach (var network in (NetworkCost[])[quick, unproven, costly])
            _networks.Leave(network);

        Assert.Same(quick, Enter(1));
        Assert.NotSame(unproven, Enter(2));
        Assert.NotSame(costly, Enter(3));
    }

    [Fact]
    public void Namespace_with_a_client_stays_known_however_many_others_come_and_go()
    {
        var site = Enter(0, isQuick: true);
        for (var i = 1; i <= MostIdle * 100; i++)
            _networks.Leave(Enter(i, isQuick: true));

        Assert.Same(site, Enter(0));
        Assert.Equal(2, site.Clients);
    }

    [Fact]
    public void Of_many_namespaces_without_a_client_64_stay_known()
    {
        var left = Enumerable.Range(0, MostIdle * 2).Select(i => Enter(i, isQuick: true)).ToArray();
        foreach (var network in left)
            _networks.Leave(network);

        Assert.Equal(MostIdle, left.Where((network, i) => ReferenceEquals(network, Enter(i))).Count());
    }

    [Fact]
    public void Namespace_that_returns_gives_its_idle_place_back()
    {
        for (var round = 0; round < 2; round++)
        {
            var networks = Enumerable.Range(0, MostIdle).Select(i => Enter(i, isQuick: true)).ToArray();
            foreach (var network in networks)
                _networks.Leave(network);
        }

        _networks.Leave(Enter(0));
        Assert.True(Enter(0).IsProven);
    }

    [Fact]
    public void Largest_namespace_is_trusted_only_if_its_calls_were_quick()
    {
        var site = Enter(1, isQuick: true);
        var hostile = Enter(2);
        _ = Enter(2);
        Assert.Same(site, _networks.LargestTrusted(0));

        hostile.AddQuick(1);
        Assert.Same(hostile, _networks.LargestTrusted(0));

        hostile.AddCostly(CostlyNs, 0);
        Assert.Same(site, _networks.LargestTrusted(0));

        _networks.Leave(site);
        Assert.Null(_networks.LargestTrusted(0));
    }

    private NetworkCost Enter(int cookie, bool isQuick = false)
    {
        var network = _networks.Enter(cookie);
        if (isQuick)
            network.AddQuick(1);
        return network;
    }
}
