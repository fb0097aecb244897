using StreamingDaemon.Host.Runtime;
using Xunit;

namespace StreamingDaemon.Host.Tests.Runtime;

public sealed class MemoryLimitTests
{
    private const long Mi = 1 << 20;
    private const long Machine = 24L << 30;

    [Fact]
    public void Container_of_256_MiB_leaves_168_to_its_streams() =>
        // The garbage collector's limit is three quarters of the container's.
        Assert.Equal(168 * Mi, MemoryLimit.StreamBytesOf(0, 192 * Mi, Machine));

    [Fact]
    public void Machine_without_a_limit_gives_three_quarters_of_its_memory() =>
        // The two numbers come from different sources, and differ a little.
        Assert.Equal(((Machine - (4 * Mi)) / 4 * 3) - (24 * Mi),
            MemoryLimit.StreamBytesOf(0, Machine - (4 * Mi), Machine));

    [Fact]
    public void Option_overrides_the_limits_of_machine_and_container() =>
        Assert.Equal((384 - 24) * Mi, MemoryLimit.StreamBytesOf(512 * Mi, 192 * Mi, Machine));

    [Fact]
    public void Collectors_limit_is_used_unchanged_if_the_machines_memory_is_unknown() =>
        Assert.Equal(168 * Mi, MemoryLimit.StreamBytesOf(0, 192 * Mi, 0));

    [Fact]
    public void Limit_below_what_the_process_takes_serves_a_few_all_the_same() =>
        Assert.Equal(4 * Mi, MemoryLimit.StreamBytesOf(0, 20 * Mi, Machine));
}
