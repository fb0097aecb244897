using System.Net;
using System.Net.NetworkInformation;
using System.Net.Sockets;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Streams;
using Xunit;
using static StreamingDaemon.Bench.Tests.Answers;

namespace StreamingDaemon.Bench.Tests;

public sealed class LoadRunTests
{
    private static readonly LoadPlan s_plan = new() { Request = Bytes("{}"), Patience = TimeSpan.FromSeconds(20) };

    [Theory]
    [InlineData(false, false, false, nameof(ReaderKind.Epoll))]
    [InlineData(true, false, false, nameof(ReaderKind.Epoll))]
    [InlineData(true, true, true, nameof(ReaderKind.Epoll))]
    [InlineData(false, false, true, nameof(ReaderKind.Epoll))]
    [InlineData(false, false, false, nameof(ReaderKind.Threads))]
    [InlineData(true, true, false, nameof(ReaderKind.Threads))]
    public void Every_stream_is_counted_once_and_by_what_became_of_it(
        bool tcp, bool connectFirst, bool readAtEnd, string readers)
    {
        using var silent = new ClientsHeldOpen();
        using var daemon = new FakeDaemon((number, client) =>
        {
            switch (number % 5)
            {
                case 0:
                    Send(client, Whole);
                    break;
                case 1:
                    Send(client, Whole[..^1]);
                    break;
                case 2:
                    Send(client, Bytes("HTTP/1.1 503 Service Unavailable\r\n\r\n"));
                    break;
                case 3:
                    Send(client, [.. Whole, (byte)'x']);
                    break;
                default:
                    client.Send(Whole);
                    silent.Add(client);
                    break;
            }
        });

        var result = Run(daemon, s_plan with
        {
            Streams = 50,
            Tcp = tcp,
            ConnectFirst = connectFirst,
            ReadAtEnd = readAtEnd,
            Readers = Enum.Parse<ReaderKind>(readers),
            // Longer than a busy machine keeps anybody waiting.
            Patience = TimeSpan.FromSeconds(4),
        });

        Assert.Equal(50, result.Total);
        Assert.Equal(10, result.Good);
        Assert.Equal(10, result.Verdicts[StreamVerdict.Truncated]);
        Assert.Equal(10, result.Verdicts[StreamVerdict.Refused]);
        Assert.Equal(10, result.Verdicts[StreamVerdict.ExtraBytes]);
        // Whole to the last byte, but without an end.
        Assert.Equal(10, result.Verdicts[StreamVerdict.TimedOut]);
        Assert.Equal(10, result.Timings.Duration.TotalCount);
    }

    [Fact]
    public void Clients_that_are_to_be_connected_first_are_before_the_first_handoff()
    {
        var connections = 0;
        using var held = new ClientsHeldOpen();
        using var daemon = new FakeDaemon((number, client) =>
        {
            held.Add(client);
            if (number == 0)
            {
                var port = ((IPEndPoint)client.LocalEndPoint!).Port;
                connections = IPGlobalProperties.GetIPGlobalProperties().GetActiveTcpConnections()
                    .Count(c => c.LocalEndPoint.Port == port && c.State == TcpState.Established);
            }

            if (number < 49)
                return;
            foreach (var waiting in held.Take())
                Send(waiting, Whole);
        });

        var result = Run(daemon, s_plan with { Streams = 50, Tcp = true, ConnectFirst = true });

        // A connection of another process may have the same port at its own end.
        Assert.True(connections >= 50, $"{connections} of 50 were connected");
        Assert.Equal(50, result.Good);
    }

    [Fact]
    public void A_client_that_is_reset_is_not_a_good_stream()
    {
        using var daemon = new FakeDaemon((_, client) =>
        {
            client.LingerState = new LingerOption(true, 0);
            client.Dispose();
        });

        var result = Run(daemon, s_plan with { Streams = 4, Tcp = true });

        Assert.Equal(4, result.Verdicts[StreamVerdict.Reset]);
    }

    [Fact]
    public void Handoffs_that_nobody_takes_are_counted_as_failed()
    {
        var daemon = new FakeDaemon((_, client) => client.Dispose());
        daemon.Dispose();

        var result = Run(daemon, s_plan with { Streams = 7 });

        Assert.Equal(7, result.Verdicts[StreamVerdict.HandoffFailed]);
        Assert.Equal(7, result.Total);
        Assert.NotNull(result.HandoffError);
    }

    [Fact]
    public void Streams_due_while_the_daemon_stalls_are_charged_with_the_stall()
    {
        const int streams = 40;
        const double rate = 100;
        using var held = new ClientsHeldOpen();
        // Nothing is answered before the last stream, which is not due before 390 ms: whoever counted from the
        // moment that the daemon was ready again would see none of it.
        using var daemon = new FakeDaemon((number, client) =>
        {
            held.Add(client);
            if (number < streams - 1)
                return;
            foreach (var waiting in held.Take())
                Send(waiting, Whole);
        });

        var result = Run(daemon, s_plan with { Streams = streams, Rate = rate });

        Assert.Equal(streams, result.Good);
        // Stream i waited at least (39 - i) * 10 ms, to the three digits of the histogram.
        Assert.True(result.Timings.Head.GetValueAtPercentile(100) >= 389_000);
        Assert.True(result.Timings.Head.GetValueAtPercentile(50) >= 189_000);
        Assert.True(result.Timings.Duration.GetValueAtPercentile(50) >= 189_000);
    }

    [Fact]
    public void Streams_that_wait_to_be_accepted_are_charged_with_the_wait()
    {
        const int stallMs = 300;
        // The accept queue is full after two: the others are handed over when the stall is over, but were due.
        using var daemon = new FakeDaemon((number, client) =>
        {
            if (number == 0)
                Thread.Sleep(stallMs);
            Send(client, Whole);
        }, backlog: 1);

        var result = Run(daemon, s_plan with { Streams = 20 });

        Assert.Equal(20, result.Good);
        // All were due before the stall began, and none was answered before it ended.
        Assert.True(result.Timings.Head.GetValueAtPercentile(0) >= 299_000);
        Assert.True(result.Timings.Handoff.GetValueAtPercentile(100) >= 299_000);
    }

    [Theory]
    [InlineData(nameof(ReaderKind.Epoll))]
    [InlineData(nameof(ReaderKind.Threads))]
    public void The_closed_loop_never_has_more_than_its_number_open_and_reuses_their_places(string readers)
    {
        using var daemon = new FakeDaemon((_, client) => Send(client, Whole));

        var result = Run(daemon,
            s_plan with
            {
                Concurrency = 3,
                Streams = 0,
                Duration = TimeSpan.FromMilliseconds(200),
                Readers = Enum.Parse<ReaderKind>(readers),
            });

        Assert.InRange(result.PeakOpen, 1, 3);
        Assert.True(result.Good > 3, $"{result.Good} streams: no place was used again");
        Assert.Equal(result.Total, result.Good);
    }

    [Fact]
    public void Answers_that_differ_are_not_learned()
    {
        using var daemon = new FakeDaemon((number, client) =>
            Send(client, Bytes(Head + Event($"{number}") + Event("two") + Event("three") + Done)));

        Assert.Throws<InvalidAnswerException>(
            () => Probe.Learn(s_plan, daemon.SocketPath, ThreeEvents, TimeSpan.FromSeconds(20)));
    }

    [Fact]
    public void Equal_answers_are_learned()
    {
        using var daemon = new FakeDaemon((_, client) => Send(client, Whole));

        var expected = Probe.Learn(s_plan, daemon.SocketPath, ThreeEvents, TimeSpan.FromSeconds(20));

        Assert.Equal(Whole, expected.Bytes);
    }

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
