using System.Net.ServerSentEvents;
using System.Text;
using BenchmarkDotNet.Attributes;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Micro;

/// <summary>An upstream's answer, from its bytes to the texts, without a network: with this project's event
/// reader, and with the platform's.</summary>
public class UpstreamParsing
{
    private const int Chunks = 180;
    private readonly byte[] _answer = Answer();
    private readonly MemoryStream _body = new(Answer());

    /// <summary>Everything for one answer; the figures are per chunk.</summary>
    [Benchmark(OperationsPerInvoke = Chunks)]
    public int ReadAnswer()
    {
        using var chunks = new ChunkReader("sk-of-the-benchmark");
        using var events = new SseReader<ChunkEvents>(new ChunkEvents(chunks), int.MaxValue);
        var bytes = 0;
        for (var offset = 0; events.TryRead(_answer, ref offset, out _);)
            bytes += chunks.Text.Length;
        return bytes;
    }

    /// <summary>The same with SseParser.</summary>
    [Benchmark(OperationsPerInvoke = Chunks)]
    public async Task<int> ReadAnswerWithSseParser()
    {
        _body.Position = 0;
        using var reader = new ChunkReader("sk-of-the-benchmark");
        var bytes = 0;
        await foreach (var item in SseParser.Create(_body, reader.Read).EnumerateAsync())
        {
            bytes += reader.Text.Length;
            if (item.Data == EventKind.Done)
                break;
        }

        return bytes;
    }

    private static byte[] Answer()
    {
        var text = new StringBuilder();
        for (var i = 0; i < Chunks; i++)
        {
            text.Append("data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":0,")
                .Append("\"model\":\"mock\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" answer\"},")
                .Append("\"finish_reason\":null}]}\n\n");
        }

        return Encoding.UTF8.GetBytes(text.Append("data: [DONE]\n\n").ToString());
    }
}
