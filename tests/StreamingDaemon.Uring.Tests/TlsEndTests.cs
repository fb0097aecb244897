using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>
/// How a stream ends if the kernel encrypts for its client (kernel TLS). The kernel here may have no TLS, so the tests
/// answer in its place; tests/vm has one that does.
/// </summary>
public sealed class TlsEndTests
{
    private const int Sent = 2;

    private const int ChunkBytes = 64 * 1024;

    private static readonly string[] s_wholeEnd = ["ClientSend", "ClientCloseNotify", "ClientShutdown"];

    /// <summary>Notes the calls that are made on clients, and answers close_notify.</summary>
    private sealed class Kernel(params int[] answers)
    {
        private readonly ConcurrentQueue<int> _answers = new(answers);
        private readonly ConcurrentQueue<OperationKind> _calls = new();
        private long _taken;

        public string[] Calls => [.. _calls.Where(kind => kind != OperationKind.ClientRead).Select(kind => $"{kind}")];

        public Action? OnCloseNotify { get; init; }

        /// <summary>Bytes that the client had not taken when FIN was sent.</summary>
        public TaskCompletionSource<int> UnsentAtFin { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>Bytes of the answer that were sent.</summary>
        public long Taken => Volatile.Read(ref _taken);

        /// <summary>The client's buffer had no room for a whole send.</summary>
        public TaskCompletionSource HasBeenFull { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public HandoffServerOptions With(HandoffServerOptions options) =>
            options with { TlsAnswer = _ => true, CallFault = Make };

        public int Make(in ClientCall call)
        {
            if (call.Kind == OperationKind.ClientShutdown)
                UnsentAtFin.TrySetResult(LinuxNative.GetUnsentBytes(call.Fd));
            _calls.Enqueue(call.Kind);
            if (call.Kind != OperationKind.ClientCloseNotify)
            {
                var result = call.Proceed();
                if (call.Kind == OperationKind.ClientSend && result > 0)
                    Interlocked.Add(ref _taken, result);
                if (call.Kind == OperationKind.ClientSend && result < call.Length)
                    HasBeenFull.TrySetResult();
                return result;
            }

            OnCloseNotify?.Invoke();
            return _answers.TryDequeue(out var answer) ? answer : Sent;
        }
    }

    private static Func<ClientStream, Task> Answer(TaskCompletionSource<ClientEnd>? end = null) => async client =>
    {
        Encoding.UTF8.GetBytes("whole", client);
        client.Complete();
        var how = await client.Ended;
        end?.SetResult(how);
    };

    private static TaskCompletionSource<ClientEnd> NewEnd() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    [Fact]
    public async Task Close_notify_goes_between_the_last_byte_and_FIN()
    {
        var kernel = new Kernel();
        var end = NewEnd();
        await using var server = await RunningServer.StartAsync(Answer(end), kernel.With);
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal("whole", await TestClient.ReadTextAsync(client));
        Assert.Equal(ClientEnd.Completed, await end.Task.WaitAsync(TestClient.Patience));
        Assert.Equal(s_wholeEnd, kernel.Calls);
    }

    [Fact]
    public async Task Plain_client_gets_no_alert()
    {
        var kernel = new Kernel();
        await using var server = await RunningServer.StartAsync(
            Answer(), options => kernel.With(options) with { TlsAnswer = null });
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal("whole", await TestClient.ReadTextAsync(client));
        Assert.Equal(["ClientSend", "ClientShutdown"], kernel.Calls);
    }

    [Theory]
    [InlineData(Errno.Again)]
    [InlineData(Errno.Intr)]
    [InlineData(Errno.NoMem)]
    public async Task Close_notify_that_the_kernel_cannot_take_yet_is_sent_again(int error)
    {
        var kernel = new Kernel(-error, -error);
        await using var server = await RunningServer.StartAsync(Answer(), kernel.With);
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal("whole", await TestClient.ReadTextAsync(client));
        Assert.Equal(["ClientSend", "ClientCloseNotify", "ClientCloseNotify", .. s_wholeEnd[1..]], kernel.Calls);
    }

    [Fact]
    public async Task FIN_waits_until_a_client_whose_buffer_was_full_has_taken_everything()
    {
        const int Chunks = 16;
        var kernel = new Kernel();
        var end = NewEnd();
        await using var server = await RunningServer.StartAsync(AnswerMuch(Chunks, end), kernel.With);
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}", small: true);

        var read = await ReadUntilNotifiedAsync(client, kernel);
        Assert.Equal(ClientEnd.Completed, await end.Task.WaitAsync(TestClient.Patience));
        read += (await TestClient.ReadToEndAsync(client)).Length;

        Assert.Equal(Chunks * ChunkBytes, read);
        Assert.Equal(0, await kernel.UnsentAtFin.Task.WaitAsync(TestClient.Patience));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Client_that_takes_no_more_after_close_notify_is_closed(bool leaves)
    {
        var kernel = new Kernel();
        var end = NewEnd();
        await using var server = await RunningServer.StartAsync(AnswerMuch(16, end),
            options => kernel.With(options) with { WriteTimeoutMs = leaves ? 600_000 : 1_000 });
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}", small: true);
        _ = await ReadUntilNotifiedAsync(client, kernel);
        if (leaves)
            client.Dispose();

        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        Assert.Equal(ClientEnd.Completed, await end.Task.WaitAsync(TestClient.Patience));
        Assert.DoesNotContain("ClientShutdown", kernel.Calls);
    }

    /// <summary>Is behind first, and still when close_notify is sent: it never takes so much that the kernel holds
    /// less than a chunk. With that much, the kernel has room for more.</summary>
    private static async Task<int> ReadUntilNotifiedAsync(Socket client, Kernel kernel)
    {
        await kernel.HasBeenFull.Task.WaitAsync(TestClient.Patience);
        var buffer = new byte[4096];
        var read = 0;
        client.ReceiveTimeout = (int)TestClient.Patience.TotalMilliseconds;
        await Eventually.TrueAsync(() =>
        {
            while (kernel.Taken - read > ChunkBytes)
                read += client.Receive(buffer);
            return kernel.Calls.Contains("ClientCloseNotify");
        });
        return read;
    }

    private static Func<ClientStream, Task> AnswerMuch(int chunks, TaskCompletionSource<ClientEnd> end) => async client =>
    {
        for (var i = 0; i < chunks; i++)
            Assert.True(await client.WriteAndFlushAsync(new byte[ChunkBytes]));
        client.Complete();
        end.SetResult(await client.Ended);
    };

    [Fact]
    public async Task Reset_before_close_notify_is_a_client_that_is_gone()
    {
        var kernel = new Kernel(-Errno.ConnReset);
        var end = NewEnd();
        await using var server = await RunningServer.StartAsync(Answer(end), kernel.With);
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal(ClientEnd.ClientGone, await end.Task.WaitAsync(TestClient.Patience));
        Assert.Equal(s_wholeEnd[..2], kernel.Calls);
    }

    [Fact]
    public async Task Stream_that_is_aborted_is_told_of_the_end_once()
    {
        var kernel = new Kernel(-Errno.Again);
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                client.Abort();
                _ = await client.Ended;
            }, kernel.With);
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal("", await TestClient.ReadTextAsync(client));
        Assert.Equal(["ClientCloseNotify"], kernel.Calls);
    }

    [Fact]
    public async Task Server_that_stops_tells_its_clients()
    {
        var kernel = new Kernel();
        var server = await RunningServer.StartAsync(
            async client =>
            {
                Encoding.UTF8.GetBytes("some", client);
                await client.FlushAsync();
                _ = await client.Ended;
            }, kernel.With);
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "some");

        await server.DisposeAsync();

        Assert.Equal("", await TestClient.ReadTextAsync(client));
        Assert.Equal(s_wholeEnd[..2], kernel.Calls);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Close_notify_that_hangs_holds_up_no_other_stream(bool leaves)
    {
        using var release = new ManualResetEventSlim();
        var hangs = 0;
        var kernel = new Kernel
        {
            OnCloseNotify = () =>
            {
                if (Interlocked.Increment(ref hangs) == 1)
                    release.Wait();
            },
        };
        var end = NewEnd();
        await using var server = await RunningServer.StartAsync(
            client => Answer(client.HandoffData.SequenceEqual("victim"u8) ? end : null)(client),
            options => kernel.With(options) with { TlsAnswer = fd => hangs == 0 });
        var victim = TestClient.HandOverTcp(server.SocketPath, "victim");
        await Eventually.TrueAsync(() => server.Server.Statistics.HungCalls.Now == 1);

        for (var i = 0; i < 5; i++)
        {
            using var other = TestClient.HandOverTcp(server.SocketPath, $"other {i}");
            Assert.Equal("whole", await TestClient.ReadTextAsync(other));
        }

        if (leaves)
        {
            victim.Dispose();
            Assert.Equal(ClientEnd.ClientGone, await end.Task.WaitAsync(TestClient.Patience));
        }

        release.Set();
        if (!leaves)
            Assert.Equal("whole", await TestClient.ReadTextAsync(victim));
        victim.Dispose();
        await Eventually.TrueAsync(() => server.Server.Statistics is { HungCalls.Now: 0, ActiveConnections: 0 });
    }

    [Fact]
    public async Task Kernels_workers_send_close_notify_while_they_make_the_calls()
    {
        var submitted = 0;
        await using var server = await RunningServer.StartAsync(Answer(), options => options with
        {
            TlsAnswer = _ => true,
            AlwaysUsesWorkers = true,
            RingFault = (in EnterCall call) =>
            {
                for (var i = 0; i < call.SubmissionCount; i++)
                {
                    ref var entry = ref call.Submission(i);
                    if (OperationId.KindOf(entry.UserData) != OperationKind.ClientCloseNotify)
                        continue;
                    Assert.Equal(IoUringConstants.OpSendMsg, entry.Opcode);
                    submitted++;
                    // A kernel without TLS would send the alert as two bytes of text.
                    entry = new SubmissionEntry { UserData = entry.UserData };
                }

                var result = call.Proceed();
                for (var i = 0; i < call.CompletionCount; i++)
                {
                    if (OperationId.KindOf(call.Completion(i).UserData) == OperationKind.ClientCloseNotify)
                        call.Completion(i).Result = Sent;
                }

                return result;
            },
        });
        using var client = TestClient.HandOverTcp(server.SocketPath, "{}");

        Assert.Equal("whole", await TestClient.ReadTextAsync(client));
        Assert.Equal(1, submitted);
    }
}
