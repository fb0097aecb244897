using System.Diagnostics;
using System.Net;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>The daemon in a network of its own, and a path to the upstream that swallows everything from some
/// moment on.</summary>
public sealed class LostPathTests
{
    private const string Ask = """{"prompt":"hi"}""";
    private const string Near = "10.213.77.9", First = "10.213.77.1", Second = "10.213.77.2";

    /// <summary>Over HTTP/1.1 no ping says that a connection is dead.</summary>
    [Theory]
    [InlineData(FakeLlmTransport.Http1)]
    [InlineData(FakeLlmTransport.Http1Tls)]
    public async Task Reader_on_a_pooled_connection_whose_path_is_lost_is_served_over_a_new_one(
        FakeLlmTransport transport)
    {
        Assert.SkipUnless(Run("unshare", "-n", "-m", "true"), "network namespaces are unavailable: unshare -n fails");
        await using var upstream = await FakeLlmServer.StartAsync(transport);
        await using var relay = new SilentRelay(upstream.BaseAddress.Port, IPAddress.Any);
        using var directory = new TempDirectory();
        await File.WriteAllTextAsync(directory.File("hosts"), $"{First} llm.example\n{Second} llm.example\n");
        await using var daemon = await DaemonProcess.StartUnderAsync(
            ["unshare", "-n", "-m", "sh", "-c", $"mount --bind {directory.File("hosts")} /etc/hosts && exec \"$@\"", "sh"],
            new Dictionary<string, string>
            {
                ["OPENAI_API_BASE"] = $"{upstream.BaseAddress.Scheme}://llm.example:{relay.Port}/v1",
                ["OPENAI_API_KEY"] = "sk-a",
                ["OPENAI_HTTP2_ENABLED"] = "false",
                ["OPENAI_INSECURE_SSL"] = "true",
            },
            false, "--backend", "openai");
        using var link = new Link(daemon.Pid);
        Assert.True((await daemon.AskAsync(Ask)).IsDone);

        link.Lose(First);

        Assert.True((await daemon.AskAsync(Ask)).IsDone);
        Assert.Equal(2, upstream.Requests.Count);
    }

    private static bool Run(string command, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(command, arguments) { RedirectStandardError = true })!;
        process.WaitForExit();
        return process.ExitCode == 0;
    }

    /// <summary>A cable between this network and that of a process: this end has two addresses.</summary>
    private sealed class Link : IDisposable
    {
        private readonly string _name = $"sd{Environment.ProcessId % 100_000}";

        public Link(int pid)
        {
            Ip("link", "add", _name, "type", "veth", "peer", "name", "up0", "netns", $"{pid}");
            // The first of a network goes last: the others go with it.
            Ip("addr", "add", Second + "/24", "dev", _name);
            Ip("addr", "add", First + "/24", "dev", _name);
            Ip("link", "set", _name, "up");
            Assert.True(Run("nsenter", "-n", "-t", $"{pid}", "ip", "addr", "add", Near + "/24", "dev", "up0"));
            Assert.True(Run("nsenter", "-n", "-t", $"{pid}", "ip", "link", "set", "up0", "up"));
        }

        /// <summary>Nobody has this address any more, and nobody says so.</summary>
        public void Lose(string address) => Ip("addr", "del", address + "/24", "dev", _name);

        public void Dispose() => Run("ip", "link", "del", _name);

        private static void Ip(params string[] arguments) => Assert.True(Run("ip", arguments));
    }
}
