using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.Tests;

public sealed class JsonTextTests
{
    [Theory]
    [InlineData("""a\n\u00e9\/\"\\""", "a\n\u00e9/\"\\")]
    [InlineData("""\ud83d\udc4b""", "\ud83d\udc4b")]
    [InlineData("""\ud83d""", "\ufffd")]
    [InlineData("""\udc4b\ud83d""", "\ufffd\ufffd")]
    [InlineData("""\ud83d\ud83d\udc4b!""", "\ufffd\ud83d\udc4b!")]
    [InlineData("""\ud83d\n\b\f\r\t""", "\ufffd\n\b\f\r\t")]
    public void Escapes_are_read_and_a_lone_surrogate_becomes_a_replacement(string escaped, string expected) =>
        Assert.Equal(expected, Read(Encoding.UTF8.GetBytes($"\"{escaped}\"")));

    [Fact]
    public void Bytes_that_are_no_utf8_become_replacements_and_the_rest_stays() =>
        Assert.Equal("a\ufffd\ufffdb\u00e9", Read([(byte)'"', (byte)'a', 0xff, 0xe6, 0x97, .. "b\u00e9\""u8]));

    [Fact]
    public void Name_that_is_no_text_is_no_known_name()
    {
        var reader = new Utf8JsonReader("""{"\ud83d": 1, "pr\u006fmpt": 2}"""u8);
        reader.Read();
        reader.Read();
        Assert.False(JsonText.Equals(ref reader, "prompt"u8));
        reader.Read();
        reader.Read();
        Assert.True(JsonText.Equals(ref reader, "prompt"u8));
    }

    [Theory]
    [InlineData("""{"a\\":"\\\ud83d\udc4b \/\n\u00e9"}""", null)]
    [InlineData("""["\ud83d","\\ud83d","\udc4b\ud83d"]""", """["\ufffd","\\ud83d","\ufffd\ufffd"]""")]
    [InlineData("""{"\ud83d\ud83d\udc4b":1.50e+3}""", """{"\ufffd\ud83d\udc4b":1.50e+3}""")]
    public void Json_is_repaired_where_it_is_no_text_and_stays_byte_for_byte_elsewhere(string json, string? expected) =>
        Assert.Equal(expected ?? json, Encoding.UTF8.GetString(JsonText.Repair(Encoding.UTF8.GetBytes(json))));

    [Fact]
    public void Json_that_is_no_utf8_is_repaired() => Assert.Equal(
        "[\"a\ufffd\ufffdb\",\"\\ufffd\"]",
        Encoding.UTF8.GetString(JsonText.Repair([.. "[\"a"u8, 0xff, 0xe6, 0x97, .. "b\",\"\\ud800\"]"u8])));

    private static string Read(byte[] json)
    {
        var reader = new Utf8JsonReader(json);
        reader.Read();
        return JsonText.Read(ref reader);
    }
}
