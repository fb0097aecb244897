using StreamingDaemon.Micro;

namespace StreamingDaemon.Backends.Tests.OpenAI;

/// <summary>What a plain stream allocates, from the socket to the sink. Alone: the process's bytes are
/// counted.</summary>
[Collection(Name)]
[CollectionDefinition(Name, DisableParallelization = true)]
public sealed class StreamAllocationTests
{
    private const string Name = "allocation of a process";

    [Trait("Takes", "Long")]
    [Theory]
    // Of a debug build, which makes some objects more. Over HTTP/1.1 it was 23 to 110 bytes, from run to run;
    // over HTTP/2 always 262: one object a token more fails.
    [InlineData(false, 160, 7_500)]
    [InlineData(true, 280, 10_500)]
    public async Task Token_and_stream_allocate_what_they_did_over_each_version_of_HTTP(
        bool isHttp2, int mostPerToken, int mostPerStream)
    {
        var (token, stream) = await UpstreamAllocation.MeasureAsync(isHttp2).WithinLimit();

        TestContext.Current.TestOutputHelper?.WriteLine($"{token:0.0} bytes a token, {stream:0} a stream");
        Assert.True(token <= mostPerToken && stream <= mostPerStream,
            $"a token allocates {token:0.0} bytes, a stream {stream:0}");
    }
}
