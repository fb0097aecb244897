using System.Net.Sockets;
using StreamingDaemon.Bench.Load;
using Xunit;
using static StreamingDaemon.Bench.Tests.Answers;

namespace StreamingDaemon.Bench.Tests;

/// <summary>Alone: the readers of other tests are threads too.</summary>
[CollectionDefinition(nameof(ThreadReadersTests), DisableParallelization = true)]
[Collection(nameof(ThreadReadersTests))]
public sealed class ThreadReadersTests
{
    private static readonly LoadPlan s_plan = new() { Request = Bytes("{}"), Patience = TimeSpan.FromSeconds(20) };

    [Theory]
    [InlineData(nameof(ReaderKind.Epoll), 0)]
    [InlineData(nameof(ReaderKind.Threads), 20)]
    public void Each_open_connection_has_a_reader_of_its_own_if_readers_are_threads(string readers, int threads)
    {
        const int streams = 20;
        var found = 0;
        using var held = new ClientsHeldOpen();
        using var daemon = new FakeDaemon((number, client) =>
        {
            held.Add(client);
            if (number < streams - 1)
                return;
            // All are open: a thread waits for each, whenever it gets to run.
            SpinWait.SpinUntil(() => (found = ReaderThreads()) >= threads, TimeSpan.FromSeconds(20));
            foreach (var waiting in held.Take())
                Send(waiting, Whole);
        });

        var result = Run(daemon, s_plan with { Streams = streams, Readers = Enum.Parse<ReaderKind>(readers) });

        Assert.Equal(streams, result.Good);
        Assert.Equal(streams, result.PeakOpen);
        Assert.Equal(threads, found);
        // The kernel lists a thread for a moment after it has ended.
        Assert.True(SpinWait.SpinUntil(() => ReaderThreads() == 0, TimeSpan.FromSeconds(20)));
    }

    [Fact]
    public void Readers_that_are_threads_time_each_event_as_it_comes()
    {
        const int gapMs = 40;
        using var daemon = new FakeDaemon((_, client) =>
        {
            foreach (var piece in (string[])[Head, Event("one"), Event("two"), Event("three"), Done])
            {
                client.Send(Bytes(piece));
                Thread.Sleep(gapMs);
            }

            client.Dispose();
        });

        var timings = Run(daemon, s_plan with { Streams = 1, Readers = ReaderKind.Threads, DelayMs = gapMs }).Timings;

        Assert.Equal(1, timings.Head.TotalCount);
        Assert.Equal(2, timings.Gap.TotalCount);
        // The first token came a gap after the head, to the three digits of the histogram.
        Assert.InRange(timings.FirstToken.GetValueAtPercentile(100), (gapMs * 1_000) - 100, long.MaxValue);
        Assert.InRange(timings.Duration.GetValueAtPercentile(100), (5 * gapMs * 1_000) - 500, long.MaxValue);
    }

    private static int ReaderThreads() => Directory.GetDirectories("/proc/self/task").Count(task =>
    {
        try
        {
            return File.ReadAllText($"{task}/comm") == "reader\n";
        }
        catch (IOException)
        {
            // It ended meanwhile.
            return false;
        }
    });

    private static LoadResult Run(FakeDaemon daemon, LoadPlan plan)
    {
        using var run = new LoadRun(plan, Expected, daemon.SocketPath);
        return run.Run();
    }

    private static void Send(Socket client, byte[] bytes)
    {
        client.Send(bytes);
        client.Dispose();
    }
}
