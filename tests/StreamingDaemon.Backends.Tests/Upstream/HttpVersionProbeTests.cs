using System.Net;
using System.Net.Http;
using System.Text;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Backends.Tests.Upstream;

public sealed class HttpVersionProbeTests
{
    private const string Http1 = "HTTP/1.1 400 Bad Request\r\n\r\n";
    private const string Settings = "\0\0\0\u0004\0\0\0\0\0";

    private string _answer = Http1;
    private long _now;
    private int _looks;

    [Theory]
    [InlineData(400)]
    [InlineData(505)]
    [InlineData(null)]
    public async Task Server_with_HTTP_2_alone_that_follows_one_without_it_is_found_out_within_a_minute(int? status)
    {
        var probe = CreateProbe();
        Assert.Equal(HttpVersion.Version11, await probe.FindAsync(default));
        _answer = Settings;

        foreach (var later in (int[])[59_999, 1, 0])
        {
            Interlocked.Add(ref _now, later);
            // The same request is not asked again: its server may be right to refuse it.
            Assert.False(status is { } code
                ? probe.OnAnswer(code)
                : probe.OnFailure(new HttpRequestException(HttpRequestError.ResponseEnded)));
        }

        await Eventually.TrueAsync(() => probe.Known == HttpVersion.Version20);
        Assert.Equal(2, _looks);
    }

    [Fact]
    public async Task Server_without_HTTP_2_that_refuses_requests_is_looked_at_once_a_minute_and_stays_known()
    {
        var probe = CreateProbe();
        await probe.FindAsync(default);

        for (var second = 0; second < 119; second++)
        {
            Interlocked.Add(ref _now, 1_000);
            Assert.False(probe.OnAnswer(400));
            Assert.Equal(HttpVersion.Version11, probe.Known);
        }

        await Eventually.TrueAsync(() => Volatile.Read(ref _looks) == 2);
        Assert.Equal(HttpVersion.Version11, probe.Known);
    }

    private HttpVersionProbe CreateProbe() => new(
        _ =>
        {
            Interlocked.Increment(ref _looks);
            return new ValueTask<Stream>(new Server(Encoding.ASCII.GetBytes(_answer)));
        },
        TestLimits.Wait, () => Interlocked.Read(ref _now));

    /// <summary>Answers whatever it is sent.</summary>
    private sealed class Server(byte[] answer) : MemoryStream(answer)
    {
        public override ValueTask WriteAsync(
            ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) => default;

        public override ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default) => new(Read(buffer.Span));
    }
}
