using System.Diagnostics;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>Files that are read again while the daemon runs, on a file system that does not answer.</summary>
public sealed class RepeatedReadTests
{
    [Fact]
    public async Task Read_that_hangs_is_given_up_and_holds_one_thread_however_often_it_is_asked_for()
    {
        using var answers = new ManualResetEventSlim();
        var reads = 0;
        var file = new RepeatedRead<string>(() =>
        {
            Interlocked.Increment(ref reads);
            answers.Wait();
            return "key";
        });

        var first = Stopwatch.StartNew();
        Assert.Null(file.Read());
        Assert.InRange(first.Elapsed, RepeatedRead<string>.Patience / 2, RepeatedRead<string>.Patience * 10);
        var further = Stopwatch.StartNew();
        for (var i = 0; i < 1_000; i++)
            Assert.Null(file.Read());
        Assert.InRange(further.Elapsed, TimeSpan.Zero, RepeatedRead<string>.Patience);
        Assert.Equal(1, reads);

        answers.Set();
        await Eventually.TrueAsync(() => file.Read() == "key");
    }

    [Fact]
    public async Task Reads_at_the_same_time_share_one()
    {
        using var answers = new ManualResetEventSlim();
        var reads = 0;
        var file = new RepeatedRead<string>(() =>
        {
            Interlocked.Increment(ref reads);
            answers.Wait();
            return "key";
        });
        var two = new[] { Task.Run(file.Read), Task.Run(file.Read) };
        await Eventually.TrueAsync(() => Volatile.Read(ref reads) == 1);

        answers.Set();

        Assert.Equal("key", (await Task.WhenAll(two))[0]);
    }

    [Fact]
    public void Each_read_sees_what_is_in_the_file_then()
    {
        var content = 0;
        var file = new RepeatedRead<string>(() => $"{++content}");

        Assert.Equal(("1", "2"), (file.Read(), file.Read()));
    }

    [Fact]
    public void File_that_cannot_be_used_is_null_and_no_fault()
    {
        var file = new RepeatedRead<string>(() => throw new IOException("no certificate"));

        Assert.Null(file.Read());
    }
}
