using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>A peer whose time is up: whoever was told that its message is sent has handed its client over, and
/// whoever was not still has it.</summary>
public sealed class HandoffDeadlineTests
{
    private const int Epipe = 32;

    private static Task SayAdmission(ClientStream client)
    {
        Encoding.UTF8.GetBytes(client.Admission.ToString(), client);
        client.Complete();
        return Task.CompletedTask;
    }

    private static bool IsReceive(ulong userData) => OperationId.KindOf(userData) == OperationKind.HandoffReceive;

    /// <summary>When a late peer sends: after the loop's n-th look that found nothing, or right before the loop's
    /// close.</summary>
    public enum Moment
    {
        AfterTheFirstLook,
        AfterTheSecondLook,
        BeforeTheClose,
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket, Moment.AfterTheFirstLook)]
    [InlineData(Posix.SockSeqPacket, Moment.AfterTheSecondLook)]
    [InlineData(Posix.SockSeqPacket, Moment.BeforeTheClose)]
    [InlineData(Posix.SockStream, Moment.AfterTheFirstLook)]
    [InlineData(Posix.SockStream, Moment.AfterTheSecondLook)]
    [InlineData(Posix.SockStream, Moment.BeforeTheClose)]
    public async Task Peer_that_sends_as_its_time_ends_is_served_or_is_told_that_it_was_not(int type, Moment moment)
    {
        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);
        var connection = Posix.NewSocket(Posix.AfUnix, type);
        var sent = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        var looks = 0;
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            UseStreamSocket = type == Posix.SockStream,
            HandoffTimeoutMs = 30,
            RingFault = (in EnterCall call) =>
            {
                var before = looks;
                for (var i = 0; i < call.SubmissionCount; i++)
                {
                    ref var entry = ref call.Submission(i);
                    if (IsReceive(entry.UserData) && (entry.OperationFlags & SocketConstants.MsgDontWait) != 0)
                        looks++;
                }

                var result = call.Proceed();
                if (looks > before && looks == (int)moment + 1)
                    Send();
                return result;
            },
            Releasing = _ =>
            {
                if (moment == Moment.BeforeTheClose)
                    Send();
            },
        });

        Posix.ConnectUnix(connection, server.SocketPath);

        var wasSent = await sent.Task.WaitAsync(TestClient.Patience);
        Posix.Close(theirs);
        Assert.Equal(wasSent ? "Admitted" : "", await TestClient.ReadTextAsync(client));
        await Eventually.TrueAsync(() => server.Rejections.Count == (wasSent ? 0 : 1));
        Assert.All(server.Rejections, reason => Assert.Equal(HandoffRejection.TimedOut, reason));
        Posix.Close(connection);

        // On the loop's own thread, so that nothing of the loop's comes between.
        void Send()
        {
            if (sent.Task.IsCompleted)
                return;
            try
            {
                Posix.SendDescriptors(connection, "{}"u8, theirs);
                sent.SetResult(true);
            }
            catch (PosixException e)
            {
                Assert.Equal(Epipe, e.Errno);
                sent.SetResult(false);
            }
        }
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Handoff_that_could_not_be_received_before_its_time_was_up_is_served(int type)
    {
        const int timeoutMs = 50;
        var refused = 0L;
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            UseStreamSocket = type == Posix.SockStream,
            HandoffTimeoutMs = timeoutMs,
            // Longer than a peer may keep us waiting: we keep this one waiting.
            RingFault = new ReceiveFault(Errno.NoBufs, _ => Interlocked.Increment(ref refused) <= 5).Enter,
        });

        using var client = TestClient.HandOver(server.SocketPath, "{}", type);

        Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
        Assert.True(refused > 5, $"{refused} asked");
        Assert.Empty(server.Rejections);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Silent_peer_that_is_asked_again_after_a_shortage_does_not_hold_up_the_others(int type)
    {
        var refused = new HashSet<int>();
        await using var server = await RunningServer.StartAsync(SayAdmission, options => options with
        {
            UseStreamSocket = type == Posix.SockStream,
            HandoffTimeoutMs = 600_000,
            // Each of the two once.
            RingFault = new ReceiveFault(Errno.NoBufs, refused.Add).Enter,
        });
        var silent = Posix.ConnectUnix(server.SocketPath, type);
        await Eventually.TrueAsync(() => server.Server.Statistics.Accepted == 1);

        using var client = TestClient.HandOver(server.SocketPath, "{}", type);

        Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
        Assert.Equal(2, refused.Count);
        Assert.Empty(server.Rejections);
        Posix.Close(silent);
    }

    /// <summary>Receives of handoffs that the kernel has no memory for: a NOP in their place.</summary>
    private sealed class ReceiveFault(int errno, Func<int, bool> fails)
    {
        private readonly HashSet<ulong> _failing = [];

        public int Enter(in EnterCall call)
        {
            for (var i = 0; i < call.SubmissionCount; i++)
            {
                ref var entry = ref call.Submission(i);
                if (!IsReceive(entry.UserData) || entry.Opcode == 0 || !fails(entry.Fd))
                    continue;
                _failing.Add(entry.UserData);
                entry = new SubmissionEntry { UserData = entry.UserData };
            }

            var result = call.Proceed();
            for (var i = 0; i < call.CompletionCount; i++)
            {
                ref var completion = ref call.Completion(i);
                if (_failing.Remove(completion.UserData))
                    completion.Result = -errno;
            }

            return result;
        }
    }
}
