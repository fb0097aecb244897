using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The daemon stays within the pod's memory limit, whatever it is handed.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class MemoryTests
{
    private const long Mi = 1 << 20;

    /// <summary>The pod's limit when such loads ended its process. The limit now is no lower.</summary>
    private const long Limit = 256 * Mi;

    [Theory]
    [InlineData(FakeLlmTransport.Http1, 4000, 20_000)]
    [InlineData(FakeLlmTransport.Http1, 1000, 100_000)]
    [InlineData(FakeLlmTransport.Http1, 3000, 40_000)]
    [InlineData(FakeLlmTransport.H2c, 4000, 20_000)]
    [InlineData(FakeLlmTransport.H2c, 1000, 100_000)]
    [InlineData(FakeLlmTransport.H2c, 3000, 40_000)]
    public async Task Long_prompts_get_their_answer_or_a_503_and_none_ends_the_process(
        FakeLlmTransport transport, int streams, int promptBytes)
    {
        using var cgroup = new MemoryCgroup(Limit);
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        await using var daemon = await StartAsync(cgroup, upstream);
        var load = new PromptLoad(daemon, upstream);

        await load.RunAsync(streams, promptBytes);

        Assert.False(daemon.HasExited, daemon.ErrorText);
        Assert.Equal(0, load.Unhealthy);
        Assert.Equal(streams, load.Whole.Count() + load.Refused.Count());
        Assert.Equal(load.CountedRefused, load.Refused.Count());
        // Less than half of the limit is for waiting prompts: at least as many of these fit.
        Assert.InRange(load.Whole.Count(), Limit / 4 / promptBytes, streams);
        Assert.DoesNotContain("OutOfMemoryException", daemon.ErrorText, StringComparison.Ordinal);
        Assert.InRange(cgroup.PeakBytes, 0, Limit - (8 * Mi));
    }

    [Fact]
    public async Task Ten_thousand_refused_handoffs_of_200_KB_do_not_pass_the_limit()
    {
        using var cgroup = new MemoryCgroup(Limit);
        await using var upstream = await FakeLlmServer.StartAsync(FakeLlmTransport.H2c);
        await using var daemon = await StartAsync(cgroup, upstream);
        var load = new PromptLoad(daemon, upstream);

        await load.RunAsync(10_000, 200_000);

        Assert.False(daemon.HasExited, daemon.ErrorText);
        Assert.Equal(0, load.Unhealthy);
        Assert.Equal(10_000, load.Whole.Count() + load.Refused.Count());
        Assert.InRange(load.CountedRefused, 5_000, 10_000);
        Assert.InRange(cgroup.PeakBytes, 0, Limit - (8 * Mi));
    }

    private static Task<DaemonProcess> StartAsync(MemoryCgroup cgroup, FakeLlmServer upstream)
    {
        _ = NativeDaemon.Binary;
        return DaemonProcess.StartUnderAsync(cgroup.Wrapper, new Dictionary<string, string>
        {
            ["OPENAI_API_KEY"] = "none",
            ["OPENAI_API_BASE"] = upstream.BaseAddress.ToString(),
            ["OPENAI_HTTP2_ENABLED"] = upstream.Transport == FakeLlmTransport.H2c ? "true" : "false",
            // A busy machine may take more than a minute until all have been handed over.
            ["STREAMING_DAEMON_TIMEOUTS__FIRST_TOKEN_TIMEOUT_MS"] = "280000",
        }, true, "--backend", "openai");
    }
}
