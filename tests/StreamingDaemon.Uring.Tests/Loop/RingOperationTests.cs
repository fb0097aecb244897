using System.Collections.Concurrent;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Loop;

/// <summary>What the loop asks of its ring.</summary>
public sealed class RingOperationTests
{
    private static readonly byte[] s_harmless =
    [
        IoUringConstants.OpPollAdd, IoUringConstants.OpRecvMsg, IoUringConstants.OpAccept,
        IoUringConstants.OpAsyncCancel, IoUringConstants.OpRead,
    ];

    /// <summary>The ring of a thread that hangs is closed with what is in it, and all of that is asked for again: see
    /// "What others still hold" in docs/architecture.md.</summary>
    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Nothing_in_the_ring_has_an_effect_that_could_be_lost_or_made_twice(int type)
    {
        var seen = new ConcurrentDictionary<byte, bool>();
        var takingReceives = 0;
        await using (var server = await RunningServer.StartAsync(
            async client =>
            {
                "answer"u8.CopyTo(client.GetSpan(6));
                client.Advance(6);
                await client.FlushAsync();
                client.Complete();
            },
            options => options with
            {
                UseStreamSocket = type == Posix.SockStream,
                HandoffTimeoutMs = 50,
                RingFault = (in EnterCall call) =>
                {
                    for (var i = 0; i < call.SubmissionCount; i++)
                    {
                        ref var entry = ref call.Submission(i);
                        seen[entry.Opcode] = true;
                        if (entry.Opcode == IoUringConstants.OpRecvMsg
                            && (entry.OperationFlags & SocketConstants.MsgPeek) == 0)
                        {
                            takingReceives++;
                        }
                    }

                    return call.Proceed();
                },
            }))
        {
            for (var i = 0; i < 10; i++)
            {
                using var client = TestClient.HandOver(server.SocketPath, "{}", type);
                Assert.Equal("answer", await TestClient.ReadTextAsync(client));
            }

            // One that times out.
            var silent = Posix.ConnectUnix(server.SocketPath, type);
            await Eventually.TrueAsync(() => server.Server.Statistics.Rejected == 1);
            _ = Posix.Close(silent);
        }

        Assert.Empty(seen.Keys.Except(s_harmless));
        Assert.Equal(0, takingReceives);
    }
}
