using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class MemoryBudgetTests
{
    private const int PerStream = 10_000;

    /// <summary>Room for so many streams with small handoffs, beside what the loop allocates for itself.</summary>
    private static MemoryBudget RoomFor(int streams) => new((streams * PerStream) + 500_000, PerStream);

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task Stream_over_the_budget_is_told_so_and_one_that_ends_makes_room(int rings)
    {
        var memory = RoomFor(3);
        var hold = new ConcurrentQueue<TaskCompletionSource>();
        await using var server = await RunningServer.StartAsync(async client =>
        {
            if (client.Admission == HandoffAdmission.Admitted)
            {
                var held = new TaskCompletionSource();
                hold.Enqueue(held);
                await held.Task;
            }

            Encoding.UTF8.GetBytes($"{client.Admission}", client);
            client.Complete();
        }, options => options with { Memory = memory, Rings = rings });
        var admitted = new List<Socket>();
        while (memory.Refused == 0)
        {
            Assert.InRange(admitted.Count, 0, memory.Limit / PerStream);
            admitted.Add(TestClient.HandOver(server.SocketPath, "{}"));
            await Eventually.TrueAsync(() => hold.Count == admitted.Count || memory.Refused == 1);
        }

        Assert.NotEmpty(hold);
        Assert.Equal("OverMemory", await TestClient.ReadTextAsync(admitted[^1]));

        var atMost = memory.Held;
        Assert.True(hold.TryDequeue(out var one));
        one.SetResult();
        await Eventually.TrueAsync(() => memory.Held < atMost - (PerStream / 2));
        admitted[^1].Dispose();
        admitted[^1] = TestClient.HandOver(server.SocketPath, "{}");
        await Eventually.TrueAsync(() => hold.Count == admitted.Count - 1);
        foreach (var each in hold)
            each.SetResult();
        foreach (var client in admitted)
        {
            Assert.Equal("Admitted", await TestClient.ReadTextAsync(client));
            client.Dispose();
        }
    }

    [Fact]
    public async Task Whatever_becomes_of_streams_all_they_held_is_given_back()
    {
        var memory = RoomFor(10_000);
        var count = 0;
        await using var server = await RunningServer.StartAsync(async client =>
        {
            client.HoldRequest(client.HandoffData.Length);
            switch (Interlocked.Increment(ref count) % 4)
            {
                case 0:
                    throw new InvalidOperationException("a handler's defect");
                case 1:
                    client.Abort();
                    break;
                case 2:
                    await client.Ended;
                    client.HoldRequest(7);
                    break;
                default:
                    Encoding.UTF8.GetBytes(new string('x', 20_000), client);
                    await client.FlushAsync();
                    client.HoldRequest(0);
                    client.Complete();
                    break;
            }
        }, options => options with { Memory = memory });
        var before = memory.Held;

        for (var i = 0; i < 100; i++)
        {
            var client = TestClient.HandOver(server.SocketPath, new string(' ', 5000) + "{}");
            if (i % 3 != 0)
                _ = await Task.WhenAny(TestClient.ReadToEndAsync(client), Task.Delay(20));
            client.Dispose();
        }

        await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        await Eventually.TrueAsync(() =>
        {
            // Handlers end a moment after their clients, and free blocks are counted until they are given back.
            server.Server.TrimMemory();
            return memory.Held <= before;
        });
    }

    [Fact]
    public async Task Client_that_is_behind_is_given_one_flush_at_a_time_while_memory_is_tight()
    {
        var memory = RoomFor(2);
        var pending = new TaskCompletionSource<long>();
        await using var server = await RunningServer.StartAsync(async client =>
        {
            memory.Hold(memory.Limit);
            var text = new string('x', 1000);
            ValueTask<bool> flush;
            do
            {
                Encoding.UTF8.GetBytes(text, client);
                flush = client.FlushAsync();
            }
            while (flush.IsCompleted);
            pending.SetResult(client.UnsentBytes);
            memory.Return(memory.Limit);
            Assert.True(await flush);
            client.Complete();
        }, options => options with { Memory = memory, MaxPendingBytes = 64 * 1024 });
        using var client = TestClient.HandOver(server.SocketPath, "{}");

        // The loop may have sent it meanwhile. Without the rule it would be the limit, 64 KiB.
        Assert.InRange(await pending.Task.WaitAsync(TestClient.Patience), 0, 2000);

        Assert.NotEmpty(await TestClient.ReadToEndAsync(client));
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task More_long_handoffs_than_large_areas_arrive_whole_and_in_turn(int type)
    {
        // So small that there are the fewest areas.
        var memory = new MemoryBudget(1 << 20, 0);
        await using var server = await RunningServer.StartAsync(client =>
        {
            Encoding.UTF8.GetBytes($"{client.HandoffData.Length} {client.Admission}", client);
            client.Complete();
            return Task.CompletedTask;
        }, options => options with { Memory = memory, UseStreamSocket = type == Posix.SockStream });

        var answers = await Task.WhenAll(Enumerable.Range(0, 64).Select(async i =>
        {
            await Task.Yield();
            // From one that fits a small area to the largest.
            var length = 8_000 + (i * 3_000);
            using var client = TestClient.HandOver(server.SocketPath, "{" + new string(' ', length - 2) + "}", type);
            return (Length: length, Text: await TestClient.ReadTextAsync(client));
        }));

        Assert.All(answers, answer => Assert.Contains(answer.Text,
            (string[])[$"{answer.Length} Admitted", $"{answer.Length} OverMemory", "0 OverMemory"]));
        Assert.Contains(answers, answer => answer.Text.EndsWith("Admitted", StringComparison.Ordinal));
        Assert.Empty(server.Rejections);
    }

    [Fact]
    public async Task Handoff_that_finds_no_memory_even_to_be_refused_costs_the_next_one_nothing()
    {
        var memory = RoomFor(100);
        await using var server = await RunningServer.StartAsync(client =>
        {
            if (client.HandoffData.Length > 2)
                throw new InsufficientMemoryException();
            Encoding.UTF8.GetBytes("served", client);
            client.Complete();
            return Task.CompletedTask;
        }, options => options with { Memory = memory });
        server.OnFaultToo = () => throw new InsufficientMemoryException();
        var survived = OutOfMemory.Survived;

        for (var i = 0; i < 3; i++)
        {
            using var client = TestClient.HandOver(server.SocketPath, """{"a":1}""");
            Assert.Empty(await TestClient.ReadToEndAsync(client));
        }

        using var next = TestClient.HandOver(server.SocketPath, "{}");
        Assert.Equal("served", await TestClient.ReadTextAsync(next));
        Assert.InRange(OutOfMemory.Survived, survived + 3, long.MaxValue);
        Assert.True(await server.Server.HandlersEndedAsync(TestClient.Patience));
        Assert.InRange(memory.Held, 0, 500_000);
    }
}
