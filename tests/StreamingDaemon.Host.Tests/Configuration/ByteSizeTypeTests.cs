using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class ByteSizeTypeTests
{
    private static readonly ByteSizeType s_type = new(1 << 20, 1L << 40, zero: "off");

    [Theory]
    [InlineData("268435456", 268_435_456, "256Mi")]
    [InlineData("256Mi", 268_435_456, "256Mi")]
    [InlineData("256MiB", 268_435_456, "256Mi")]
    [InlineData("256m", 268_435_456, "256Mi")]
    [InlineData("1G", 1_073_741_824, "1Gi")]
    [InlineData("1500000", 1_500_000, "1500000")]
    [InlineData("2000Ki", 2_048_000, "2000Ki")]
    [InlineData("0", 0, "0")]
    public void Number_of_bytes_is_read_with_and_without_a_unit_and_written_with_one(
        string text, long bytes, string written)
    {
        Assert.Null(s_type.Read(new RawSetting("k", text, RawKind.Text, "k"), out var value));
        Assert.Equal(bytes, value);
        Assert.Equal(written, s_type.Format(value));
        Assert.Null(s_type.Read(new RawSetting("k", written, RawKind.Text, "k"), out var again));
        Assert.Equal(bytes, again);
    }

    [Theory]
    [InlineData("")]
    [InlineData("Mi")]
    [InlineData("-1")]
    [InlineData("256 Mi")]
    [InlineData("256Ti")]
    [InlineData("1.5Gi")]
    [InlineData("99999999999Gi")]
    [InlineData("1Ki")]
    [InlineData("2048Gi")]
    public void What_is_no_number_of_bytes_or_out_of_range_is_refused(string text) =>
        Assert.NotNull(s_type.Read(new RawSetting("k", text, RawKind.Text, "k"), out _));
}
