using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

public sealed class CoalescingTests
{
    private static async Task WaitForBytesAsync(ClientStream client, long bytes) =>
        await Eventually.TrueAsync(() => client.BytesSent == bytes);

    private static async Task FlushAsync(ClientStream client, string text)
    {
        Encoding.UTF8.GetBytes(text, client);
        await client.FlushAsync();
    }

    [Fact]
    public async Task What_is_flushed_within_the_window_leaves_in_one_send()
    {
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await FlushAsync(client, "first.");
                await WaitForBytesAsync(client, 6);
                for (var i = 0; i < 10; i++)
                    await FlushAsync(client, $"{i}");
                await WaitForBytesAsync(client, 16);
                client.Complete();
            },
            // Long enough for a machine that has other things to do between two flushes.
            options => options with { CoalesceMs = 500 });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal("first.0123456789", await TestClient.ReadTextAsync(client));
        Assert.Equal(2, server.Server.Statistics.Sends);
    }

    [Fact]
    public async Task Without_a_window_each_flush_that_finds_the_loop_idle_leaves_by_itself()
    {
        await using var server = await RunningServer.StartAsync(async client =>
        {
            for (var i = 0; i < 5; i++)
            {
                await FlushAsync(client, $"{i}");
                await WaitForBytesAsync(client, i + 1);
            }

            client.Complete();
        });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal("01234", await TestClient.ReadTextAsync(client));
        Assert.Equal(5, server.Server.Statistics.Sends);
    }

    [Fact]
    public async Task End_of_a_stream_does_not_wait_for_the_window()
    {
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await FlushAsync(client, "first.");
                await WaitForBytesAsync(client, 6);
                await FlushAsync(client, "last.");
                client.Complete();
            },
            // Longer than the patience of the reader, and than the machine has been up.
            options => options with { CoalesceMs = int.MaxValue });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal("first.last.", await TestClient.ReadTextAsync(client));
    }

    [Fact]
    public async Task What_was_held_leaves_at_the_end_of_the_window_without_anything_else_happening()
    {
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await FlushAsync(client, "a");
                await WaitForBytesAsync(client, 1);
                await FlushAsync(client, "b");
                await WaitForBytesAsync(client, 2);
                client.Complete();
            },
            options => options with { CoalesceMs = 50 });

        using var client = TestClient.HandOver(server.SocketPath, "{}");

        Assert.Equal("ab", await TestClient.ReadTextAsync(client));
        Assert.Equal(2, server.Server.Statistics.Sends);
    }

    [Fact]
    public async Task New_client_does_not_wait_for_what_was_sent_to_the_one_before_in_its_slot()
    {
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await FlushAsync(client, "head");
                await WaitForBytesAsync(client, 4);
                client.Complete();
            },
            // Longer than anybody's patience, and than the machine has been up.
            options => options with { CoalesceMs = int.MaxValue });

        for (var i = 0; i < 3; i++)
        {
            using var client = TestClient.HandOver(server.SocketPath, "{}");
            Assert.Equal("head", await TestClient.ReadTextAsync(client));
            client.Dispose();
            await Eventually.TrueAsync(() => server.Server.Statistics.ActiveConnections == 0);
        }
    }
}
