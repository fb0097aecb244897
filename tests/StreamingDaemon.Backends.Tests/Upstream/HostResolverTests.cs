using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.Tests.Upstream;

/// <summary>DNS servers that answer one of two questions.</summary>
public sealed class HostResolverTests
{
    [Theory]
    [InlineData(AddressFamily.InterNetwork, "192.0.2.1")]
    [InlineData(AddressFamily.InterNetworkV6, "2001:db8::1")]
    public async Task Server_that_drops_the_question_for_one_family_costs_half_a_second_once(
        AddressFamily answered, string address)
    {
        var asked = 0;
        var resolver = new HostResolver(async (_, family, token) =>
        {
            Interlocked.Increment(ref asked);
            if (family != answered)
                await Task.Delay(Timeout.Infinite, token);
            return [IPAddress.Parse(address)];
        });
        for (var i = 0; i < 2; i++)
        {
            Assert.Equal(address,
                Assert.Single(await resolver.ResolveAsync("llm.test", default).WithinLimit()).ToString());
        }

        Assert.Equal(6, asked);
    }

    /// <summary>Otherwise a dead address of the family that is answered first would be the only one
    /// tried.</summary>
    [Theory]
    [InlineData(AddressFamily.InterNetwork)]
    [InlineData(AddressFamily.InterNetworkV6)]
    public async Task Answer_for_one_family_waits_a_moment_for_the_other(AddressFamily first)
    {
        var isAsked = new TaskCompletionSource();
        var resolver = new HostResolver(async (_, family, token) =>
        {
            if (family == AddressFamily.Unspecified)
                await Task.Delay(Timeout.Infinite, token);
            if (family == first)
                isAsked.SetResult();
            else
                await isAsked.Task;
            // Its continuation runs after that of the first one.
            if (family != first)
                await Task.Yield();
            return [IPAddress.Parse(family == AddressFamily.InterNetwork ? "192.0.2.1" : "2001:db8::1")];
        });
        var addresses = await resolver.ResolveAsync("llm.test", default).WithinLimit();
        Assert.Equal(["192.0.2.1", "2001:db8::1"], addresses.Select(address => address.ToString()));
    }

    [Fact]
    public async Task Server_that_answers_is_asked_once_and_its_order_kept()
    {
        var asked = 0;
        IPAddress[] addresses = [IPAddress.Parse("192.0.2.1"), IPAddress.Parse("2001:db8::1")];
        var resolver = new HostResolver((_, _, _) =>
        {
            asked++;
            return Task.FromResult(addresses);
        });
        Assert.Equal(addresses, await resolver.ResolveAsync("llm.test", default).WithinLimit());
        Assert.Equal(1, asked);
    }

    [Fact]
    public async Task Name_that_does_not_exist_is_an_error_also_if_the_answer_is_late()
    {
        var resolver = new HostResolver(async (_, family, token) =>
        {
            if (family == AddressFamily.Unspecified)
                await Task.Delay(700, token);
            throw new SocketException((int)SocketError.HostNotFound);
        });
        var error = await Assert.ThrowsAsync<SocketException>(
            () => resolver.ResolveAsync("llm.test", default).WithinLimit());
        Assert.Equal(SocketError.HostNotFound, error.SocketErrorCode);
    }

    [Fact]
    public async Task Server_that_answers_nothing_is_left_when_the_time_is_over()
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(1));
        var resolver = new HostResolver(async (_, _, token) =>
        {
            await Task.Delay(Timeout.Infinite, token);
            return [];
        });
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            () => resolver.ResolveAsync("llm.test", limit.Token).WithinLimit());
    }
}
