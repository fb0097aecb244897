using System.Text;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Handoff;
using Xunit;

namespace StreamingDaemon.Host.Tests.Handoff;

public sealed class UserIdReaderTests
{
    [Theory]
    [InlineData("0", 0)]
    [InlineData("\"42\"", 42)]
    [InlineData("\" -7 \"", -7)]
    [InlineData("12.0", 12)]
    [InlineData("1e3", 1000)]
    [InlineData("-9223372036854775808", long.MinValue)]
    public void User_id_is_an_integer_however_it_is_written(string json, long expected)
    {
        Assert.Equal(new UserId(expected), Read(json).UserId);
        Assert.Empty(Read(json).Unusable);
    }

    [Theory]
    [InlineData("\"6b1f7f1e-9d9c-4f3e-8f58-2f3f3c5a1c11\"", "6b1f7f1e-9d9c-4f3e-8f58-2f3f3c5a1c11")]
    [InlineData("\" ann@example.com \"", "ann@example.com")]
    [InlineData("\"007\"", "007")]
    [InlineData("\"+7\"", "+7")]
    [InlineData("\"Gr\\u00fc\\u00dfe\"", "Grüße")]
    [InlineData("99999999999999999999", "99999999999999999999")]
    [InlineData("\"12.5\"", "12.5")]
    public void User_id_is_any_other_text(string json, string expected)
    {
        Assert.Equal(expected, Read(json).UserId.Text);
        Assert.Empty(Read(json).Unusable);
    }

    [Theory]
    [InlineData("null", false)]
    [InlineData("\"\"", true)]
    [InlineData("\"  \"", true)]
    [InlineData("12.5", true)]
    [InlineData("1e300", true)]
    [InlineData("true", true)]
    [InlineData("[]", true)]
    [InlineData("{\"a\":[1]}", true)]
    public void User_id_that_names_nobody_is_none_and_named_unless_it_is_null(string json, bool isNamed)
    {
        Assert.True(Read(json).UserId.IsNone);
        Assert.Equal(isNamed ? ["user_id"] : [], Read(json).Unusable);
    }

    [Fact]
    public void Long_user_id_is_short_and_still_its_own()
    {
        var one = Read($"\"{new string('x', 10_000)}1\"").UserId;
        var other = Read($"\"{new string('x', 10_000)}2\"").UserId;

        Assert.Matches("^sha256-[0-9a-f]{64}$", one.Text);
        Assert.NotEqual(one, other);
        Assert.Equal(128, Read($"\"{new string('x', 128)}\"").UserId.Text!.Length);
    }

    [Fact]
    public void Of_a_user_id_that_comes_twice_the_last_one_counts() =>
        Assert.Equal(2, Read("1,\"user_id\":2").UserId.Number);

    private static HandoffRequest Read(string json)
    {
        Assert.True(HandoffRequestReader.TryRead(Encoding.UTF8.GetBytes($$"""{"user_id":{{json}}}"""), out var request));
        return request;
    }
}
