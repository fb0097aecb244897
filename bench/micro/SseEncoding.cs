using System.Buffers;
using System.Text;
using BenchmarkDotNet.Attributes;
using StreamingDaemon.Host.Formats;

namespace StreamingDaemon.Micro;

/// <summary>One content event, from its text to the bytes sent.</summary>
public class SseEncoding
{
    private readonly ArrayBufferWriter<byte> _output = new(64 * 1024);
    private byte[] _text = [];

    /// <summary>The text: a word as models send it, one with escapes, a long one.</summary>
    [Params("word", "escapes", "4 KB")]
    public string Text { get; set; } = "";

    [GlobalSetup]
    public void SetUp() => _text = Encoding.UTF8.GetBytes(Text switch
    {
        "word" => " answer",
        "escapes" => "say \"no\"\n",
        _ => new string('x', 4096),
    });

    [Benchmark]
    public int WriteContent()
    {
        _output.ResetWrittenCount();
        ServerSentEvents.WriteContent(_output, _text);
        return _output.WrittenCount;
    }
}
