using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class FileQuestionTests
{
    [Fact]
    public void Answer_is_whole_or_the_file_cannot_be_read()
    {
        byte[] answer = [1, .. "text"u8];
        var frame = FileQuestion.Framed(answer);

        Assert.Equal(answer, FileQuestion.Unframed(frame));
        for (var length = 0; length < frame.Length; length++)
        {
            var part = FileQuestion.Unframed(frame[..length]);
            Assert.Equal("cannot be read", FileQuestion.ContentIn(part, out _));
            Assert.False(FileQuestion.IsYes(part));
            Assert.Equal(default, FileQuestion.StampIn(part));
        }
    }
}
