using System.Text;
using StreamingDaemon.Backends.OpenAI;

namespace StreamingDaemon.Backends.Tests.OpenAI;

public sealed class UpstreamErrorTextTests
{
    [Theory]
    [InlineData("""{"error":{"type":"t","code":"c","message":"m"}}""", "t/c: m")]
    [InlineData("""{"error":{"type":"same","code":"same","message":"m"}}""", "same: m")]
    [InlineData("""{"error":{"type":null,"code":429,"message":"m"}}""", "429: m")]
    [InlineData("""{"error":{"code":"c"}}""", "c")]
    [InlineData("""{"error":{}}""", "{}")]
    [InlineData("""{"message":"m"}""", "m")]
    [InlineData("""{"detail":[{"loc":1}]}""", """[{"loc":1}]""")]
    [InlineData("[1]", "[1]")]
    [InlineData("""{"error":{"message":"cut o""", """{"error":{"message":"cut o""")]
    [InlineData("""{"error":{"message":"\ud800"}}""", """{"error":{"message":"\ud800"}}""")]
    [InlineData("  <!DOCTYPE html>", "")]
    [InlineData(" \r\n", "")]
    public void Body_becomes_what_it_says(string body, string expected) =>
        Assert.Equal(expected, UpstreamErrorText.FromBody(Encoding.UTF8.GetBytes(body)));

    [Theory]
    [InlineData("a\r\n\tb", "a b")]
    [InlineData("a\u001b[31mb\u0085c\u2028d\u202ee", "a [31mb c d e")]
    [InlineData("key sk-secret-1 and sk-secret-1", "key [key] and [key]")]
    public void Line_holds_no_control_character_and_no_key(string text, string expected) =>
        Assert.Equal(expected, UpstreamErrorText.Clean(text, "sk-secret-1"));

    [Fact]
    public void Line_is_cut_between_characters()
    {
        var clean = UpstreamErrorText.Clean(string.Concat(Enumerable.Repeat("🌍", 1000)), "");
        Assert.Equal(UpstreamErrorText.MaxLength + 1, clean.Length);
        Assert.EndsWith("🌍…", clean, StringComparison.Ordinal);
    }

    [Fact]
    public void Key_is_redacted_before_the_cut_so_that_no_part_of_it_is_left()
    {
        var clean = UpstreamErrorText.Clean(new string('x', 295) + "sk-secret-1", "sk-secret-1");
        Assert.DoesNotContain("sk-", clean, StringComparison.Ordinal);
    }
}
