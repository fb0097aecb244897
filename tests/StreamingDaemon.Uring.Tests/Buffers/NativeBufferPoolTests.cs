using StreamingDaemon.Uring.Buffers;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Buffers;

public sealed class NativeBufferPoolTests
{
    [Theory]
    [InlineData(1, 256)]
    [InlineData(256, 256)]
    [InlineData(257, 512)]
    [InlineData(262_144, 262_144)]
    [InlineData(262_145, 524_288)]
    public void Block_is_the_smallest_power_of_two_that_holds(int asked, int capacity)
    {
        using var pool = new NativeBufferPool();

        var buffer = pool.Rent(asked);

        Assert.Equal(capacity, buffer.Capacity);
        pool.Return(ref buffer);
        Assert.Equal(0, pool.Rented);
    }

    [Fact]
    public unsafe void Growing_keeps_the_bytes_and_gives_the_smaller_block_back()
    {
        using var pool = new NativeBufferPool();
        var buffer = default(NativeBuffer);
        var expected = new List<byte>();
        var random = new Random(3);
        for (var i = 0; i < 200; i++)
        {
            var piece = new byte[random.Next(1, 2000)];
            random.NextBytes(piece);
            pool.EnsureRoom(ref buffer, piece.Length);
            buffer.Append(piece);
            expected.AddRange(piece);
        }

        Assert.Equal(expected, new ReadOnlySpan<byte>(buffer.Pointer, buffer.Length).ToArray());
        Assert.Equal(1, pool.Rented);
        pool.Return(ref buffer);
        Assert.Equal(0, pool.Rented);
    }
}
