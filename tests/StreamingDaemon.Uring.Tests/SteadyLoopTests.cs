using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>What an event costs the loop once its stream runs.</summary>
public sealed class SteadyLoopTests
{
    private const int WarmUp = 50, Events = 200;

    [Fact]
    public async Task Event_in_steady_state_is_one_send_and_no_allocated_byte_on_the_loops_thread()
    {
        long allocated = 0, sends = 0, sendsBefore = 0, sendsAfter = 0, before = 0, after = 0;
        long submissions = 0, submissionsBefore = 0, submissionsAfter = 0;
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                for (var i = 1; i <= WarmUp + Events; i++)
                {
                    if (i == WarmUp + 1)
                    {
                        (before, sendsBefore) = (Volatile.Read(ref allocated), Volatile.Read(ref sends));
                        submissionsBefore = Volatile.Read(ref submissions);
                    }

                    Encoding.UTF8.GetBytes("event.", client);
                    await client.FlushAsync();
                    await Eventually.TrueAsync(() => client.BytesSent == 6L * i);
                }

                (after, sendsAfter) = (Volatile.Read(ref allocated), Volatile.Read(ref sends));
                submissionsAfter = Volatile.Read(ref submissions);
                client.Complete();
            },
            options => options with
            {
                // Both are called by the loop's thread.
                CallFault = (in ClientCall call) =>
                {
                    if (call.Kind == OperationKind.ClientSend)
                        Volatile.Write(ref sends, sends + 1);
                    return call.Proceed();
                },
                RingFault = (in EnterCall call) =>
                {
                    for (var i = 0; i < call.SubmissionCount; i++)
                    {
                        // An event needs nothing of the ring but its wake-up.
                        if (OperationId.KindOf(call.Submission(i).UserData) != OperationKind.Wake)
                            Volatile.Write(ref submissions, submissions + 1);
                    }

                    Volatile.Write(ref allocated, GC.GetAllocatedBytesForCurrentThread());
                    return call.Proceed();
                },
            });
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal(6 * (WarmUp + Events), (await TestClient.ReadTextAsync(client)).Length);

        Assert.Equal(Events, sendsAfter - sendsBefore);
        Assert.Equal(0, submissionsAfter - submissionsBefore);
        Assert.True(before > 0);
        Assert.Equal(0, after - before);
    }

    /// <summary>Its flushes are 200, so that a loop that is woken for the first one would not find them
    /// all.</summary>
    [Fact]
    public async Task What_a_handler_writes_before_it_returns_leaves_in_one_send()
    {
        long sends = 0;
        var sleeps = false;
        await using var server = await RunningServer.StartAsync(
            client =>
            {
                // The loop has given this client away, and turns on until it has nothing to do.
                Assert.True(SpinWait.SpinUntil(() => Volatile.Read(ref sleeps), TestClient.Patience));
                for (var i = 0; i < Events; i++)
                {
                    Encoding.UTF8.GetBytes("event.", client);
                    Assert.True(client.FlushAsync().AsTask().IsCompletedSuccessfully);
                    Thread.SpinWait(1_000);
                }

                client.Complete();
                return Task.CompletedTask;
            },
            options => options with
            {
                CallFault = (in ClientCall call) =>
                {
                    if (call.Kind == OperationKind.ClientSend)
                        Interlocked.Increment(ref sends);
                    return call.Proceed();
                },
                RingFault = (in EnterCall call) =>
                {
                    Volatile.Write(ref sleeps, call.WaitCount > 0);
                    var result = call.Proceed();
                    Volatile.Write(ref sleeps, false);
                    return result;
                },
            });
        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal(6 * Events, (await TestClient.ReadTextAsync(client)).Length);

        Assert.Equal(1, Volatile.Read(ref sends));
    }
}
