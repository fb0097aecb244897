using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Ring;

/// <summary>What the kernel may answer, put between it and the loop: every stream is whole nevertheless.</summary>
public sealed class RingFaultTests
{
    private const int Clients = 60;
    private const int Numbers = 400;

    [Theory]
    [InlineData(Errno.Again)]
    [InlineData(Errno.Busy)]
    [InlineData(Errno.Intr)]
    public async Task Enter_that_is_refused_or_interrupted_is_called_again(int errno)
    {
        var (calls, refused) = (0, 0);
        await StreamThroughAsync(
            (in EnterCall call) =>
            {
                // Four times in a row.
                if (calls++ % 7 > 2)
                {
                    refused++;
                    return -errno;
                }

                return call.Proceed();
            },
            rounds: 5);
        Assert.True(refused > 10, $"{refused} refused");
    }

    [Fact]
    public async Task Enter_that_wants_its_completions_taken_first_gets_its_way_although_the_queue_is_full()
    {
        var refused = 0;
        await StreamThroughAsync(
            (in EnterCall call) =>
            {
                if (call.CompletionCount == 0)
                    return call.Proceed();
                refused++;
                return -Errno.Busy;
            },
            // Two entries: they are full in every turn.
            options => options with { RingEntries = 2 });
        Assert.True(refused > 10, $"{refused} refused");
    }

    [Fact]
    public async Task Completion_queue_that_overflows_loses_nothing()
    {
        var (overflows, held) = (0, 0);
        await StreamThroughAsync(
            (in EnterCall call) =>
            {
                var result = call.Proceed();
                if (call.HasOverflowed)
                    overflows++;
                held = Math.Max(held, call.CompletionCount);
                return result;
            },
            // Eight completions, for hundreds of clients that write, leave and are closed at the same time.
            options => options with { RingEntries = 2 },
            rounds: 3);
        Assert.Equal(8, held);
        Assert.True(overflows > 10, $"overflowed {overflows} times");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public async Task Short_sends_are_continued(int length)
    {
        var shortened = 0;
        await StreamThroughAsync(Untouched, options => options with
        {
            CallFault = (in ClientCall call) =>
            {
                if (call.Kind != OperationKind.ClientSend || call.Length <= length)
                    return call.Proceed();
                shortened++;
                return call.Proceed(length);
            },
        });
        Assert.True(shortened > 1000, $"{shortened} shortened");
    }

    [Theory]
    [InlineData(1)]
    [InlineData(5)]
    public async Task Short_sends_of_the_kernels_workers_are_continued(int length)
    {
        var shortened = 0;
        await StreamThroughAsync((in EnterCall call) =>
        {
            for (var i = 0; i < call.SubmissionCount; i++)
            {
                ref var entry = ref call.Submission(i);
                if (entry.Opcode != IoUringConstants.OpSend || entry.Length <= length)
                    continue;
                entry.Length = (uint)length;
                shortened++;
            }

            return call.Proceed();
        }, options => options with { AlwaysUsesWorkers = true });
        Assert.True(shortened > 1000, $"{shortened} shortened");
    }

    [Theory]
    [InlineData((int)OperationKind.ClientSend, Errno.Canceled)]
    [InlineData((int)OperationKind.ClientSend, Errno.Intr)]
    [InlineData((int)OperationKind.ClientSend, Errno.Again)]
    [InlineData((int)OperationKind.ClientSend, Errno.NoBufs)]
    [InlineData((int)OperationKind.ClientSend, Errno.NoMem)]
    [InlineData((int)OperationKind.ClientWatch, Errno.Canceled)]
    [InlineData((int)OperationKind.HandoffReceive, Errno.Canceled)]
    [InlineData((int)OperationKind.HandoffReceive, Errno.Again)]
    [InlineData((int)OperationKind.HandoffReceive, Errno.NoBufs)]
    [InlineData((int)OperationKind.Accept, Errno.Canceled)]
    [InlineData((int)OperationKind.Accept, Errno.ConnAborted)]
    [InlineData((int)OperationKind.Accept, Errno.NoBufs)]
    [InlineData((int)OperationKind.Accept, Errno.MFile)]
    [InlineData((int)OperationKind.ClientReadable, Errno.Canceled)]
    [InlineData((int)OperationKind.ClientRead, Errno.Intr)]
    [InlineData((int)OperationKind.ClientRead, Errno.Again)]
    [InlineData((int)OperationKind.Wake, Errno.Canceled)]
    [InlineData((int)OperationKind.Wake, Errno.Again)]
    public async Task Operation_that_fails_for_a_passing_reason_is_made_again(int kind, int errno)
    {
        // In the place of the operation stands a NOP, whose completion then says what the test wants.
        var faults = new Dictionary<ulong, int>();
        var (seen, failed) = (0, 0);
        await StreamThroughAsync((in EnterCall call) =>
        {
            for (var i = 0; i < call.SubmissionCount; i++)
            {
                ref var entry = ref call.Submission(i);
                if (OperationId.KindOf(entry.UserData) != (OperationKind)kind || entry.Opcode == 0 || seen++ % 3 != 0)
                    continue;
                faults[entry.UserData] = -errno;
                entry = new SubmissionEntry { UserData = entry.UserData };
                failed++;
            }

            var result = call.Proceed();
            for (var i = 0; i < call.CompletionCount; i++)
            {
                ref var completion = ref call.Completion(i);
                if (faults.Remove(completion.UserData, out var fault))
                    completion.Result = fault;
            }

            return result;
        }, options => options with { AlwaysUsesWorkers = true });
        Assert.True(failed > 0, "nothing failed");
    }

    [Theory]
    [InlineData((int)OperationKind.ClientSend, Errno.Intr)]
    [InlineData((int)OperationKind.ClientSend, Errno.Again)]
    [InlineData((int)OperationKind.ClientSend, Errno.NoBufs)]
    [InlineData((int)OperationKind.ClientSend, Errno.NoMem)]
    [InlineData((int)OperationKind.ClientRead, Errno.Intr)]
    [InlineData((int)OperationKind.ClientRead, Errno.Again)]
    public async Task Call_that_fails_for_a_passing_reason_is_made_again(int kind, int errno)
    {
        var (seen, failed) = (0, 0);
        await StreamThroughAsync(Untouched, options => options with
        {
            CallFault = (in ClientCall call) =>
            {
                if (call.Kind != (OperationKind)kind || seen++ % 3 != 0)
                    return call.Proceed();
                failed++;
                return -errno;
            },
        });
        Assert.True(failed > 0, "nothing failed");
    }

    [Fact]
    public async Task Accept_that_ends_its_multishot_is_armed_again()
    {
        var ended = 0;
        await StreamThroughAsync((in EnterCall call) =>
        {
            for (var i = 0; i < call.SubmissionCount; i++)
            {
                ref var entry = ref call.Submission(i);
                if (entry.Opcode != IoUringConstants.OpAccept)
                    continue;
                entry.IoPriority = 0;
                ended++;
            }

            return call.Proceed();
        });
        Assert.True(ended > Clients, $"{ended} times");
    }

    [Fact]
    public async Task Late_completion_of_a_slot_that_has_a_new_user_is_not_taken_for_the_new_one()
    {
        var random = new Random(11);
        var generations = new Dictionary<(bool Handoff, int Slot), uint>();
        var past = new List<ulong>();
        var late = 0;
        await StreamThroughAsync(
            (in EnterCall call) =>
            {
                for (var i = 0; i < call.SubmissionCount; i++)
                {
                    var userData = call.Submission(i).UserData;
                    if (OperationId.KindOf(userData) is not (OperationKind.HandoffReceive or OperationKind.ClientSend
                        or OperationKind.ClientWatch or OperationKind.ClientRead or OperationKind.ClientReadable))
                    {
                        continue;
                    }

                    past.Add(userData);
                    generations[SlotOf(userData)] = OperationId.GenerationOf(userData);
                }

                for (var i = 0; i < 4 && past.Count > 0; i++)
                {
                    var old = past[random.Next(past.Count)];
                    // Of a slot that was used again since. Its result, 0, would end whoever takes it for his own.
                    if (generations[SlotOf(old)] != OperationId.GenerationOf(old)
                        && call.TryAdd(new SubmissionEntry { UserData = old }))
                    {
                        late++;
                    }
                }

                return call.Proceed();
            },
            options => options with { AlwaysUsesWorkers = true },
            rounds: 5);
        Assert.True(late > 100, $"{late} late");

        static (bool, int) SlotOf(ulong userData) =>
            (OperationId.KindOf(userData) == OperationKind.HandoffReceive, OperationId.SlotOf(userData));
    }

    [Fact]
    public async Task Error_of_enter_that_is_not_known_ends_the_server_with_the_reason()
    {
        var before = OpenDescriptors.SocketsAndRings();
        var server = await RunningServer.StartAsync(
            client => client.Ended.AsTask(),
            options => options with
            {
                RingFault = (in EnterCall call) =>
                {
                    for (var i = 0; i < call.SubmissionCount; i++)
                    {
                        if (OperationId.KindOf(call.Submission(i).UserData) == OperationKind.ClientWatch)
                            return -Errno.Inval;
                    }

                    return call.Proceed();
                },
            });
        using var client = TestClient.HandOver(server.SocketPath, "{}");

        var error = await Assert.ThrowsAsync<HandoffServerException>(
            () => server.Server.Completion.WaitAsync(TestClient.Patience));
        Assert.Contains("io_uring_enter", error.Message, StringComparison.Ordinal);
        Assert.Empty(await TestClient.ReadToEndAsync(client));
        client.Dispose();
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    private static int Untouched(in EnterCall call) => call.Proceed();

    /// <summary>Streams numbers through a faulty kernel to many clients; some leave; then drains.</summary>
    private static async Task StreamThroughAsync(RingFault fault,
        Func<HandoffServerOptions, HandoffServerOptions>? with = null, int rounds = 1)
    {
        var expected = string.Concat(Enumerable.Range(0, Numbers).Select(i => $"{i},"));
        var before = OpenDescriptors.SocketsAndRings();
        var ends = new List<ClientEnd>();
        await using (var server = await RunningServer.StartAsync(
            async client =>
            {
                for (var i = 0; i < Numbers; i++)
                {
                    Encoding.UTF8.GetBytes($"{i},", client);
                    if (i % 5 == 0 && !await client.FlushAsync())
                        break;
                }

                client.Complete();
                var end = await client.Ended;
                lock (ends)
                    ends.Add(end);
            },
            options => (with?.Invoke(options) ?? options) with { RingFault = fault }))
        {
            for (var round = 0; round < rounds; round++)
            {
                await Task.WhenAll(Enumerable.Range(0, Clients).Select(i => Task.Run(
                    () => ReadAsync(server.SocketPath, expected, leave: i % 4 == 3))));
            }

            server.Server.BeginDrain();
            await server.Server.Completion.WaitAsync(TestClient.Patience);
            Assert.Empty(server.Rejections);
            Assert.Empty(server.Faults);
        }

        await Eventually.TrueAsync(() => ends.Count == Clients * rounds);
        Assert.DoesNotContain(ClientEnd.SocketError, ends);
        Assert.True(ends.Count(end => end == ClientEnd.Completed) >= Clients * rounds * 3 / 4);
        await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
    }

    private static async Task ReadAsync(string socketPath, string expected, bool leave)
    {
        using var client = TestClient.HandOverTcp(socketPath, "{}");
        if (leave)
            _ = await client.ReceiveAsync(new byte[10], SocketFlags.None).WaitAsync(TestClient.Patience);
        else
            Assert.Equal(expected, await TestClient.ReadTextAsync(client));
    }
}
