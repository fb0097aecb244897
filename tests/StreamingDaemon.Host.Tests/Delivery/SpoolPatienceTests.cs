using StreamingDaemon.Host.Delivery;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Delivery;

/// <summary>How long a start waits for the spool. Tests of the daemon as a process have one that never answers.</summary>
public sealed class SpoolPatienceTests
{
    /// <summary>An fsync(2) on a busy disk, or the names of a long spool.</summary>
    [Fact]
    public void Spool_that_answers_and_is_slow_is_waited_for()
    {
        using var directory = new TempDirectory();
        var isOver = false;

        var problem = SpoolPatience.Look(new DeliverySpool(directory.Path), _ =>
        {
            Thread.Sleep(TimeSpan.FromSeconds(2.5));
            isOver = true;
            return null;
        });

        Assert.Null(problem);
        Assert.True(isOver);
    }

    [Fact]
    public void What_the_look_finds_wrong_is_said()
    {
        using var directory = new TempDirectory();
        var spool = new DeliverySpool(directory.Path);

        Assert.Equal("full", SpoolPatience.Look(spool, _ => "full"));
        Assert.Equal("broken", SpoolPatience.Look(spool, _ => throw new IOException("broken")));
    }
}
