using System.Text;
using StreamingDaemon.Backends.OpenAI;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class ChunkReaderTests
{
    private static ReadOnlySpan<byte> Head => "{\"choices\":[{\"delta\":{\"content\":\""u8;

    private static ReadOnlySpan<byte> Tail => "\"}}]}"u8;

    [Fact]
    public void Bytes_that_are_no_utf8_become_replacement_characters()
    {
        byte[] data = [.. Head, (byte)'a', 0xff, 0xe6, 0x97, .. "b\\n"u8, .. Tail];
        using var reader = new ChunkReader("");
        Assert.Equal(EventKind.Delta, reader.Read("message", data));
        Assert.Equal("a\ufffd\ufffdb\n", Encoding.UTF8.GetString(reader.Text.Span));
    }

    [Fact]
    public void Worst_case_of_replacement_fits_the_buffer()
    {
        var junk = Enumerable.Repeat((byte)0xff, 50_000).ToArray();
        byte[] data = [.. Head, .. junk, .. Tail];
        using var reader = new ChunkReader("");
        Assert.Equal(EventKind.Delta, reader.Read("message", data));
        Assert.Equal(new string('\ufffd', 50_000), Encoding.UTF8.GetString(reader.Text.Span));
    }

    [Fact]
    public async Task A_megabyte_that_no_repair_makes_json_is_malformed_without_a_search()
    {
        byte[] data = [(byte)'{', .. Enumerable.Repeat((byte)',', 1_000_000), (byte)'}'];
        using var reader = new ChunkReader("");
        Assert.Equal(EventKind.Malformed, await Task.Run(() => reader.Read("message", data)).WithinLimit());
    }

    [Fact]
    public void Text_of_one_event_is_gone_with_the_next()
    {
        using var reader = new ChunkReader("");
        reader.Read("message", "{\"choices\":[{\"delta\":{\"content\":\"x\"}}]}"u8);
        Assert.Equal(1, reader.Text.Length);
        reader.Read("message", "{\"choices\":[]}"u8);
        Assert.Equal(0, reader.Text.Length);
    }

    [Theory]
    [InlineData("{\"choices\":[{\"index\":0},{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}", false)]
    [InlineData("{\"choices\":[{\"index\":1,\"delta\":{},\"finish_reason\":\"stop\"}]}", true)]
    [InlineData("{\"choices\":[{\"finish_reason\":\"stop\",\"index\":0}]}", true)]
    [InlineData("{\"finish_reason\":\"stop\",\"choices\":[]}", true)]
    public void Finish_reason_counts_for_the_first_choice_or_beside_all(string data, bool isSeen)
    {
        using var reader = new ChunkReader("");
        reader.Read("message", Encoding.UTF8.GetBytes(data));
        Assert.Equal(isSeen, reader.SawFinishReason);
    }

    [Theory]
    [InlineData(" [DONE] ", "Done")]
    [InlineData("[done]", "Done")]
    [InlineData("[done", "Done")]
    [InlineData("[dine]", "Malformed")]
    [InlineData("[HEARTBEAT]", "Delta")]
    [InlineData("{\"error\":\"\"}", "Delta")]
    [InlineData("{\"error\":false}", "Delta")]
    [InlineData("{\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"error\":{\"code\":1}}", "Error")]
    public void Events_are_told_apart(string data, string kind)
    {
        using var reader = new ChunkReader("");
        Assert.Equal(kind, reader.Read("message", Encoding.UTF8.GetBytes(data)).ToString());
    }

    [Fact]
    public void Nesting_without_end_is_malformed_and_no_crash()
    {
        var data = Encoding.UTF8.GetBytes("{\"a\":" + new string('[', 100_000));
        using var reader = new ChunkReader("");
        Assert.Equal(EventKind.Malformed, reader.Read("message", data));
    }
}
