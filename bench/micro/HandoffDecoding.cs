using System.Text;
using BenchmarkDotNet.Attributes;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Micro;

/// <summary>One handoff, from its JSON to the request; and the search for its end on a stream
/// socket.</summary>
public class HandoffDecoding
{
    private byte[] _json = [];

    /// <summary>The handoff: a prompt, or a conversation of twenty turns with headers.</summary>
    [Params("prompt", "conversation")]
    public string Handoff { get; set; } = "";

    [GlobalSetup]
    public void SetUp()
    {
        var text = new string('x', 200);
        var turns = string.Join(',', Enumerable.Range(0, 10).Select(i =>
            $$"""{"role":"user","content":"{{text}}"},{"role":"assistant","content":"{{i}} {{text}}"}"""));
        _json = Encoding.UTF8.GetBytes(Handoff == "prompt"
            ? """{"user_id":42,"prompt":"How fast are you?"}"""
            : $$$"""{"user_id":42,"messages":[{{{turns}}}],"response_headers":{"X-Chat":"7"}}""");
    }

    [Benchmark]
    public bool Read() => HandoffRequestReader.TryRead(_json, out _);

    [Benchmark]
    public bool FindEnd()
    {
        var boundary = new JsonBoundary();
        boundary.Feed(_json);
        return boundary.IsComplete;
    }
}
