using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class Http2OpeningTests
{
    private static readonly byte[] s_none = [0, 3, 0, 0, 0, 0];
    private static readonly byte[] s_two = [0, 4, 0, 0, 0xff, 0xff, 0, 3, 0, 0, 0, 2];

    private readonly Http2Streams _streams = new();

    [Fact]
    public async Task Client_waits_until_it_has_read_that_it_may_open_a_stream()
    {
        _streams.OnGreeting(0);
        var opening = new Http2Opening(_streams);
        var connection = new MemoryStream();
        var preface = opening.SendPrefaceAsync(connection, new byte[] { 1 }, default);
        Assert.Equal(1, connection.Length);

        opening.OnSettings(s_none, isLast: true);
        opening.OnRead();
        Assert.True(opening.IsAwaited);
        for (var i = 0; i < s_two.Length - 1; i++)
            opening.OnSettings(s_two.AsSpan(i, 1), isLast: false);
        opening.OnRead();
        Assert.True(opening.IsAwaited);
        opening.OnSettings(s_two.AsSpan(s_two.Length - 1), isLast: true);
        Assert.True(opening.IsAwaited);
        opening.OnRead();

        await preface.WithinLimit();
        Assert.False(opening.IsAwaited);
    }

    [Theory]
    [InlineData(null, false, false)]
    [InlineData(0u, true, true)]
    [InlineData(2u, true, false)]
    [InlineData(99u, true, false)]
    [InlineData(100u, false, false)]
    [InlineData(uint.MaxValue, false, false)]
    public void Next_connection_waits_if_the_limit_is_below_100(uint? limit, bool waits, bool isNone)
    {
        var opening = new Http2Opening(_streams);
        Assert.False(opening.IsAwaited);
        opening.OnSettings(limit is { } value
            ? [0, 3, (byte)(value >> 24), (byte)(value >> 16), (byte)(value >> 8), (byte)value]
            : [], isLast: true);
        Assert.Equal((true, waits, isNone), (_streams.IsGreeted, _streams.IsLow, _streams.IsNone));
        Assert.Equal(waits, new Http2Opening(_streams).IsAwaited);
    }

    [Fact]
    public async Task Connection_that_ends_is_no_longer_waited_for()
    {
        _streams.OnGreeting(0);
        var opening = new Http2Opening(_streams);
        var preface = opening.SendPrefaceAsync(new MemoryStream(), new byte[] { 1 }, default);
        opening.OnEnd();
        await preface.WithinLimit();
        Assert.True(_streams.IsLow);
    }

    /// <summary>Another server may have come to the address, one that sends SETTINGS only after a request.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Only_an_upstream_that_was_silent_is_not_waited_for_again(bool isSilent)
    {
        _streams.OnGreeting(0);
        var opening = new Http2Opening(_streams);
        using var limit = new CancellationTokenSource();
        var preface = opening.SendPrefaceAsync(new MemoryStream(), new byte[] { 1 }, limit.Token);
        if (!isSilent)
            opening.OnSettings(s_none, isLast: true);
        await limit.CancelAsync();
        await Assert.ThrowsAnyAsync<OperationCanceledException>(() => preface.WithinLimit());
        Assert.Equal(!isSilent, _streams.IsLow);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(0xd, true)]
    public void GOAWAY_says_if_the_upstream_wants_HTTP_1_until_another_connection_is_greeted(byte code, bool wants)
    {
        byte[] payload = [0, 0, 0, 1, 0, 0, 0, code, .. "text"u8];
        var opening = new Http2Opening(_streams);
        opening.OnGoAway(payload.AsSpan(0, 5));
        opening.OnGoAway(payload.AsSpan(5));
        Assert.Equal(wants, _streams.WantsHttp11);
        new Http2Opening(_streams).OnSettings([], isLast: true);
        Assert.False(_streams.WantsHttp11);
    }
}
