using System.Buffers;
using System.ClientModel.Primitives;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>
/// Reads a response that has said all there is to its formal end, away from the stream that it served.
/// </summary>
/// <remarks>
/// <c>[DONE]</c> comes a moment before the end of the body. To dispose the response in that moment would
/// reset an HTTP/2 stream, and proxies close a connection on which many streams are reset; on HTTP/1.1 it
/// would cost the connection. So the client gets its end at once, and the body gets this long to end.
/// </remarks>
internal static class ResponseDrain
{
    private const int LimitMs = 2_000;

    /// <summary>More than a last chunk with usage or trailers needs.</summary>
    private const int LimitBytes = 64 * 1024;

    /// <summary>Starts; disposes the response whatever happens. Failures mean nothing any more.</summary>
    public static void Start(PipelineResponse response, Stream body) => _ = RunAsync(response, body);

    private static async Task RunAsync(PipelineResponse response, Stream body)
    {
        using var limit = new CancellationTokenSource(LimitMs);
        var buffer = ArrayPool<byte>.Shared.Rent(1024);
        try
        {
            var total = 0;
            int count;
            do
            {
                count = await body.ReadAsync(buffer, limit.Token);
                total += count;
            }
            while (count > 0 && total < LimitBytes);
        }
        catch (Exception exception) when (exception is IOException or OperationCanceledException
            or ObjectDisposedException or HttpRequestException)
        {
            // The answer was whole; how its connection ended is nobody's concern.
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(buffer);
            response.Dispose();
        }
    }
}
