using System.Globalization;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.OpenAI;

namespace StreamingDaemon.Micro;

/// <summary>Bytes that the backend and the HTTP client below it allocate for a plain OpenAI stream: of one
/// token, and of a stream without its tokens. Counted, not estimated: the server allocates nothing, and sends
/// a token when the one before it has arrived.</summary>
internal static class UpstreamAllocation
{
    private const int Tokens = 1_000;
    private const int Streams = 50;

    /// <summary>Until the connection of an answer that has ended is back in the pool. If it is not, the next
    /// stream pays for another.</summary>
    private const int PauseMs = 5;

    /// <summary>Prints the figures of both versions of HTTP.</summary>
    public static async Task<int> RunAsync(TextWriter output)
    {
        foreach (var isHttp2 in (bool[])[false, true])
        {
            var (token, stream) = await MeasureAsync(isHttp2);
            output.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{(isHttp2 ? "HTTP/2" : "HTTP/1.1"),-8}  {token,8:0.0} B a token  {stream,8:0} B a stream"));
        }

        return 0;
    }

    /// <summary>The least of several runs: what else the process does only adds.</summary>
    public static async Task<(double Token, double Stream)> MeasureAsync(bool isHttp2)
    {
        using var server = new PacedServer(isHttp2);
        using var backend = new OpenAIBackend(new OpenAIOptions
        {
            ApiKey = "sk-of-the-benchmark",
            ApiBase = server.Address,
            Http2Enabled = isHttp2,
        }, new BackendContext());
        await CountAsync(backend, server, Tokens, 2); // Fills the pools and compiles.
        await CountAsync(backend, server, 1, Streams);
        var (token, stream) = (double.MaxValue, double.MaxValue);
        for (var run = 0; run < 3; run++)
        {
            await CountAsync(backend, server, PacedServer.Begun + 1 + Tokens, 1);
            token = Math.Min(token, server.AllocatedByTokens / (double)Tokens);
            stream = Math.Min(stream, await CountAsync(backend, server, 1, Streams) / (double)Streams);
        }

        return (token, stream);
    }

    /// <summary>Bytes allocated by that many streams.</summary>
    private static async Task<long> CountAsync(
        OpenAIBackend backend, PacedServer server, int tokens, int streams)
    {
        var before = GC.GetTotalAllocatedBytes(precise: true);
        for (var stream = 0; stream < streams; stream++)
        {
            Thread.Sleep(PauseMs);
            server.Begin(tokens);
            var request = new StreamRequest { RequestId = "allocation", Prompt = "Hi" };
            var result = await backend.StreamAsync(request, server, default);
            if (result.Outcome != StreamOutcome.Completed || server.Taken != tokens)
                throw new InvalidOperationException($"{server.Taken} of {tokens} tokens: {result.Reason}");
        }

        return GC.GetTotalAllocatedBytes(precise: true) - before;
    }
}
