using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Ring;

public sealed class OperationIdTests
{
    [Theory]
    [InlineData(0u)]
    [InlineData(0xFF_FFFFu)]
    [InlineData(0x100_0000u)]
    [InlineData(uint.MaxValue)]
    public void Completion_is_its_slots_present_users_only(uint generation)
    {
        var name = OperationId.Pack(OperationKind.ClientWatch, generation, slot: 70_000);

        Assert.Equal(OperationKind.ClientWatch, OperationId.KindOf(name));
        Assert.Equal(70_000, OperationId.SlotOf(name));
        Assert.True(OperationId.IsOf(name, generation));
        Assert.False(OperationId.IsOf(name, unchecked(generation + 1)));
    }
}
