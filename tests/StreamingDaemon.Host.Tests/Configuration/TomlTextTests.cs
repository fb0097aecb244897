using StreamingDaemon.Host.Configuration.Toml;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class TomlTextTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    [Fact]
    public void Lines_are_those_of_the_file_with_its_comments() => Assert.Equal(
        "streaming-daemon.toml:8: server.backlog: 0 is out of range; expected an integer from 1 to 65535",
        _sandbox.TomlError("# one\n\n  \t\r\n[server]\r\n  # five\r\n#\n\nbacklog = 0 # eight\n"));

    [Fact]
    public void Both_lines_of_a_key_set_twice_are_those_of_the_file() => Assert.Equal(
        "streaming-daemon.toml:6:1: server.backlog is already defined on line 4; keep one",
        _sandbox.TomlError("# one\n[server]\n# three\nbacklog = 1\n# five\nbacklog = 2\n# seven\n"));

    [Fact]
    public void Mistake_at_the_end_is_placed_in_the_last_line_that_is_no_comment() =>
        Assert.StartsWith("streaming-daemon.toml:2:", _sandbox.TomlError("# one\n[server\n# three"));

    [Fact]
    public void Line_of_a_text_of_several_lines_is_no_comment()
    {
        var document = TomlDocument.Parse("# a comment\nx = '''\n# text\n\n# more'''\n# a comment\n", "f");

        Assert.Equal("# text\n\n# more", Assert.Single(document.Settings).Text);
    }

    [Fact]
    public void Comment_counts_for_nothing_and_everything_else_to_64_KiB()
    {
        var comments = string.Concat(Enumerable.Repeat("# x\n\n", 100_000));

        Assert.Equal(3, _sandbox.LoadToml(comments + "delay = 3\n" + comments).Mock.DelayMs);
        Assert.Equal("streaming-daemon.toml: holds more than 64 KiB besides comments",
            _sandbox.TomlError("delay = 3" + new string(' ', TomlText.Most)));
    }
}
