using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Calls on a client's socket that do not return, because somebody else holds the socket.</summary>
public sealed class HangTests
{
    /// <summary>Holds one call of a kind up, by the number of its client's descriptor.</summary>
    private sealed class HeldCall(OperationKind kind) : IDisposable
    {
        private readonly ManualResetEventSlim _release = new();
        private readonly TaskCompletionSource _hangs = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private int _taken;

        public Task Hangs => _hangs.Task.WaitAsync(TestClient.Patience);

        public int Make(in ClientCall call)
        {
            if (call.Kind == kind && Interlocked.Exchange(ref _taken, 1) == 0)
            {
                _hangs.SetResult();
                _release.Wait();
            }

            return call.Proceed();
        }

        public void Release() => _release.Set();

        public void Dispose()
        {
            Release();
            _release.Dispose();
        }
    }

    [Theory]
    [InlineData((int)OperationKind.ClientSend)]
    [InlineData((int)OperationKind.ClientShutdown)]
    [InlineData((int)OperationKind.ClientRead)]
    public async Task Call_that_hangs_costs_its_own_stream_its_time_and_the_others_nothing(int kind)
    {
        var before = OpenDescriptors.SocketsAndRings();
        using var held = new HeldCall((OperationKind)kind);
        await using (var server = await RunningServer.StartAsync(AnswerAsync,
            options => options with { CallFault = held.Make, LingerTimeoutMs = 60_000 }))
        {
            using var victim = TestClient.HandOverTcp(server.SocketPath, "victim");
            var answer = TestClient.ReadTextAsync(victim);
            await CloseIfReadAsync(kind, victim, answer);
            await held.Hangs;

            await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls == new HungThreads(1, 1));
            for (var i = 0; i < 20; i++)
            {
                using var other = TestClient.HandOverTcp(server.SocketPath, $"other {i}");
                Assert.Equal($"other {i}, whole", await TestClient.ReadTextAsync(other));
            }

            held.Release();
            Assert.Equal("victim, whole", await answer);
            victim.Dispose();
            await Eventually.TrueAsync(() => server.Server.Statistics is { HungCalls.Now: 0, ActiveConnections: 0 });
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Fact]
    public async Task Client_that_leaves_while_its_call_hangs_ends_as_gone_at_once()
    {
        using var held = new HeldCall(OperationKind.ClientSend);
        var end = new TaskCompletionSource<ClientEnd>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await SayAsync(client, "text");
                end.SetResult(await client.Ended);
            },
            options => options with { CallFault = held.Make });
        var victim = TestClient.HandOverTcp(server.SocketPath, "{}");
        await held.Hangs;

        victim.Dispose();

        Assert.Equal(ClientEnd.ClientGone, await end.Task.WaitAsync(TestClient.Patience));
        Assert.Equal(1, server.Server.Statistics.HungCalls.Now);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Server_ends_while_a_call_hangs(bool drains)
    {
        using var held = new HeldCall(OperationKind.ClientSend);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await SayAsync(client, "text");
                await Task.Delay(Timeout.Infinite, client.Cancelled).ContinueWith(_ => { }, TaskScheduler.Default);
            },
            options => options with { CallFault = held.Make, WriteTimeoutMs = 200 });
        using var victim = TestClient.HandOverTcp(server.SocketPath, "{}");
        await held.Hangs;
        await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls.Now == 1);

        if (drains)
            server.Server.BeginDrain();
        else
            server.Server.Stop();

        await server.Server.Completion.WaitAsync(TestClient.Patience);
    }

    [Fact]
    public async Task Everything_that_waits_in_the_ring_goes_on_after_its_thread_was_replaced()
    {
        using var held = new HeldCall(OperationKind.ClientSend);
        var gone = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var begun = new SemaphoreSlim(0);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                switch (Encoding.UTF8.GetString(client.HandoffData))
                {
                    case "silent":
                        begun.Release();
                        await Task.Delay(Timeout.Infinite, client.Cancelled)
                            .ContinueWith(_ => gone.TrySetResult(), TaskScheduler.Default);
                        break;
                    case "slow":
                        // More than its socket takes.
                        for (var i = 0; i < 100; i++)
                            await SayAsync(client, new string('x', 100_000));
                        client.Complete();
                        break;
                    case var data:
                        await SayAsync(client, data);
                        client.Complete();
                        break;
                }
            },
            options => options with { CallFault = held.Make, HandoffTimeoutMs = 60_000 });
        var silent = TestClient.HandOverTcp(server.SocketPath, "silent");
        await begun.WaitAsync(TestClient.Patience);
        // Connected, with its message to come.
        var late = Posix.ConnectUnix(server.SocketPath, Posix.SockSeqPacket);
        await Eventually.TrueAsync(() => server.Server.Statistics.Accepted == 2);

        using var victim = TestClient.HandOverTcp(server.SocketPath, "victim");
        await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls.Now == 1);

        // A new connection, one that was there, a client that leaves, one that does not keep up.
        using var slow = TestClient.HandOverTcp(server.SocketPath, "slow");
        var (browser, accepted) = TestClient.TcpPair();
        _ = Posix.SendDescriptors(late, "late"u8, (int)accepted.Handle);
        accepted.Dispose();
        Assert.Equal("late", await TestClient.ReadTextAsync(browser));
        silent.Dispose();
        await gone.Task.WaitAsync(TestClient.Patience);
        Assert.Equal(10_000_000, (await TestClient.ReadToEndAsync(slow)).Length);
        held.Release();
        Assert.Equal("victim", await TestClient.ReadTextAsync(victim));
        _ = Posix.Close(late);
        browser.Dispose();
    }

    [Fact]
    public async Task Socket_whose_lock_is_held_is_given_up_and_the_others_are_checked()
    {
        var before = OpenDescriptors.SocketsAndRings();
        await using (var server = await RunningServer.StartAsync(AnswerAsync,
            options => options with { HandoffTimeoutMs = 1_000 }))
        {
            // One more than checks that may hang.
            var victims = Enumerable.Range(0, 17).Select(_ => TestClient.TcpPair()).ToList();
            var locks = victims.Select(v => new HeldLock((int)v.Server.Handle)).ToList();
            foreach (var (_, theirs) in victims)
                TestClient.HandOverDescriptor(server.SocketPath, "victim"u8, (int)theirs.Handle);

            await Eventually.TrueAsync(() =>
            {
                lock (server.Rejections)
                    return server.Rejections.Count >= 16;
            });
            lock (server.Rejections)
                Assert.All(server.Rejections, reason => Assert.Equal(HandoffRejection.CheckTimedOut, reason));
            using var other = TestClient.HandOverTcp(server.SocketPath, "other");
            Assert.Equal("other, whole", await TestClient.ReadTextAsync(other));

            locks.ForEach(held => held.Dispose());
            victims.ForEach(v => v.Browser.Dispose());
            victims.ForEach(v => v.Server.Dispose());
            await Eventually.TrueAsync(() => server.Server.Statistics is
            { HungChecks.Now: 0, HungCalls.Now: 0, ActiveConnections: 0 });
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task What_completed_beside_the_call_that_hangs_is_taken_once(int type)
    {
        const int others = 20;
        var before = OpenDescriptors.SocketsAndRings();
        using var release = new ManualResetEventSlim();
        var (hangs, waits, gathers) = (0, 0, 0);
        await using (var server = await RunningServer.StartAsync(
            async client =>
            {
                if (Encoding.UTF8.GetString(client.HandoffData) == "{\"slow\":1}")
                    await SayAsync(client, new string('x', 10_000_000));
                await SayAsync(client, Encoding.UTF8.GetString(client.HandoffData));
                client.Complete();
            },
            options => options with
            {
                UseStreamSocket = type == Posix.SockStream,
                MaxPendingBytes = 32 << 20,
                RingFault = (in EnterCall call) =>
                {
                    for (var i = 0; i < call.SubmissionCount; i++)
                    {
                        if (OperationId.KindOf(call.Submission(i).UserData) == OperationKind.ClientWritable)
                            Interlocked.Exchange(ref waits, 1);
                    }

                    var result = call.Proceed();
                    // One batch of all that comes, with the client that has room again first.
                    while (Volatile.Read(ref gathers) == 1 && !IsGathered(call))
                        _ = call.Proceed();
                    if (Interlocked.CompareExchange(ref gathers, 2, 1) == 1)
                        Volatile.Write(ref hangs, 1);
                    return result;
                },
                CallFault = (in ClientCall call) =>
                {
                    // The send after the client had room again, in the middle of a batch of completions.
                    if (call.Kind == OperationKind.ClientSend && Volatile.Read(ref hangs) == 1
                        && Interlocked.Exchange(ref hangs, 2) == 1)
                    {
                        release.Wait();
                    }

                    return call.Proceed();
                },
            }))
        {
            var slow = HandOver("{\"slow\":1}");
            await Eventually.TrueAsync(() => Volatile.Read(ref waits) == 1);
            Volatile.Write(ref gathers, 1);
            var clients = Enumerable.Range(0, others).Select(i => HandOver($"{{\"n\":{i}}}")).ToList();
            var answer = TestClient.ReadToEndAsync(slow);

            for (var i = 0; i < others; i++)
                Assert.Equal($"{{\"n\":{i}}}", await TestClient.ReadTextAsync(clients[i]));
            Assert.Equal(1, server.Server.Statistics.HungCalls.Ever);
            release.Set();
            Assert.Equal(10_000_000 + "{\"slow\":1}".Length, (await answer).Length);
            clients.ForEach(client => client.Dispose());
            slow.Dispose();

            System.Net.Sockets.Socket HandOver(string data)
            {
                var (browser, theirs) = TestClient.TcpPair();
                TestClient.HandOverDescriptor(server.SocketPath, Encoding.UTF8.GetBytes(data), (int)theirs.Handle, type);
                theirs.Dispose();
                return browser;
            }
        }

        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Server_ends_while_a_check_hangs(bool drains)
    {
        await using var server = await RunningServer.StartAsync(AnswerAsync,
            options => options with { HandoffTimeoutMs = drains ? 200 : 60_000 });
        var (browser, theirs) = TestClient.TcpPair();
        using var held = new HeldLock((int)theirs.Handle);
        TestClient.HandOverDescriptor(server.SocketPath, "victim"u8, (int)theirs.Handle);
        await Eventually.TrueAsync(() => server.Server.Statistics.HungChecks.Now == 1);

        if (drains)
            server.Server.BeginDrain();
        else
            server.Server.Stop();

        await server.Server.Completion.WaitAsync(TestClient.Patience);
        browser.Dispose();
        theirs.Dispose();
    }

    /// <summary>Is there a writable client, and behind it an accepted connection and one more thing?</summary>
    private static bool IsGathered(in EnterCall call)
    {
        var (writable, accepts) = (-1, 0);
        for (var i = 0; i < call.CompletionCount; i++)
        {
            var kind = OperationId.KindOf(call.Completion(i).UserData);
            writable = kind == OperationKind.ClientWritable ? i : writable;
            accepts += kind == OperationKind.Accept ? 1 : 0;
        }

        if (writable < 0 || accepts == 0 || call.CompletionCount < 3)
            return false;
        (call.Completion(0), call.Completion(writable)) = (call.Completion(writable), call.Completion(0));
        return true;
    }

    private static async Task CloseIfReadAsync(int kind, System.Net.Sockets.Socket victim, Task<string> answer)
    {
        // The read behind the end of the stream comes when the client says something.
        if ((OperationKind)kind != OperationKind.ClientRead)
            return;
        await answer;
        await victim.SendAsync("more"u8.ToArray());
    }

    private static async Task AnswerAsync(ClientStream client)
    {
        await SayAsync(client, $"{Encoding.UTF8.GetString(client.HandoffData)}, ");
        await SayAsync(client, "whole");
        client.Complete();
    }

    private static async Task SayAsync(ClientStream client, string text)
    {
        Encoding.UTF8.GetBytes(text, client);
        await client.FlushAsync();
    }
}
