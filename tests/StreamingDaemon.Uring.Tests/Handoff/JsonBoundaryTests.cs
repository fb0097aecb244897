using System.Text;
using StreamingDaemon.Uring.Handoff;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Handoff;

public sealed class JsonBoundaryTests
{
    [Theory]
    [InlineData("{}")]
    [InlineData(" \n{\"a\":[1,{\"b\":2}]}")]
    [InlineData("[[],[]]")]
    [InlineData("""{"a":"}]\"}{"}""")]
    [InlineData("""{"a":"\\"}""")]
    [InlineData("\0")]
    public void Value_is_complete_at_its_last_byte_and_not_before(string json)
    {
        var bytes = Encoding.UTF8.GetBytes(json);
        var boundary = new JsonBoundary();
        for (var i = 0; i < bytes.Length; i++)
        {
            Assert.False(boundary.IsComplete, $"complete after {i} of {bytes.Length} bytes");
            boundary.Feed(bytes.AsSpan(i, 1));
        }

        Assert.True(boundary.IsComplete);
    }

    [Theory]
    [InlineData("")]
    [InlineData("no json")]
    [InlineData("\"a string\"")]
    [InlineData("12")]
    [InlineData("""{"a":1""")]
    [InlineData("""{"a":"}""")]
    public void What_has_no_closing_bracket_is_never_complete(string json)
    {
        var boundary = new JsonBoundary();

        boundary.Feed(Encoding.UTF8.GetBytes(json));

        Assert.False(boundary.IsComplete);
    }
}
