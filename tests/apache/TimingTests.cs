namespace StreamingDaemon.ApacheTests;

/// <summary>When the handoff happens, and what of the script runs afterwards.</summary>
public sealed class TimingTests
{
    [Theory]
    [InlineData(Stack.PreforkWithModPhp, "flush", "&ignore=1")]
    [InlineData(Stack.EventWithPhpFpm, "flush", "")]
    [InlineData(Stack.EventWithPhpFpm, "finish", "")]
    public void Handoff_happens_at_the_first_flush_and_the_script_goes_on(Stack stack, string when, string more)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start(Url(apache, when, more));

        listener.Serve("served");
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
        Assert.False(File.Exists(Sign(apache, "after")));
        Assert.False(File.Exists(Sign(apache, "shutdown")));
        File.WriteAllText(Sign(apache, "go"), "");
        Wait.Until(() => File.Exists(Sign(apache, "after")) && File.Exists(Sign(apache, "shutdown")),
            () => "The script did not go on.");
    }

    [Fact]
    public void Flush_under_mod_php_ends_the_script_and_runs_its_shutdown_functions()
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start(Url(apache, "flush"));

        listener.Serve("served");
        Wait.Until(() => File.Exists(Sign(apache, "shutdown")), () => "No shutdown function ran.");
        File.WriteAllText(Sign(apache, "go"), "");
        apache.Stop();
        Assert.False(File.Exists(Sign(apache, "after")));
    }

    [Theory, MemberData(nameof(SharedServers.Both), MemberType = typeof(SharedServers))]
    public void Without_a_flush_the_handoff_happens_when_the_script_has_ended(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start(Url(apache, "end"));
        Wait.Until(() => File.Exists(Sign(apache, "running")), () => "The script does not run.");

        Assert.False(listener.HasConnection);
        File.WriteAllText(Sign(apache, "go"), "");
        listener.Serve("served");
        // Shutdown functions belong to the script.
        Assert.True(File.Exists(Sign(apache, "after")) && File.Exists(Sign(apache, "shutdown")));
    }

    private static string Sign(ApacheServer apache, string name) => Path.Combine(apache.Root, "sessions", name);

    private static string Url(ApacheServer apache, string when, string more = "") => apache.Url(
        $"/timing.php?socket={Uri.EscapeDataString(apache.DefaultSocket)}&when={when}{more}");
}
