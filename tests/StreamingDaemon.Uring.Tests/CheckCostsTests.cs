using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Which checks of new sockets would hold up those of others.</summary>
public sealed class CheckCostsTests
{
    private const long CostlyNs = 20_000_000;
    private const long QuickNs = 5_000;
    private const ulong Site = 1;
    private const ulong Hostile = 2;

    private readonly CheckCosts _costs = new(new ExitReleases());

    [Fact]
    public void Namespace_is_checked_elsewhere_after_two_costly_checks_even_with_quick_ones_between()
    {
        _costs.Add(Hostile, CostlyNs);
        _costs.Add(Hostile, QuickNs);
        Assert.False(_costs.MayBeCostly(Hostile));

        _costs.Add(Hostile, CostlyNs);
        _costs.Add(Hostile, QuickNs);

        Assert.True(_costs.MayBeCostly(Hostile));
    }

    [Fact]
    public void Namespace_that_is_not_known_is_checked_elsewhere_for_a_second()
    {
        const ulong Unknown = 3;
        Assert.False(_costs.MayBeCostly(Unknown));
        _costs.Add(Site, QuickNs);
        _costs.Add(Hostile, CostlyNs);

        Assert.True(_costs.MayBeCostly(Unknown));
        Assert.False(_costs.MayBeCostly(Site));

        // The second thread has checked one of its sockets.
        _costs.Add(Unknown, QuickNs);
        Assert.False(_costs.MayBeCostly(Unknown));
    }

    [Fact]
    public void Any_number_of_namespaces_makes_that_of_the_site_no_unknown_one()
    {
        for (var i = 0UL; i < 1000; i++)
        {
            _costs.Add(Site, QuickNs);
            _costs.Add(1000 + i, CostlyNs);
        }

        Assert.False(_costs.MayBeCostly(Site));
    }
}
