using System.Collections.Concurrent;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>The daemon restarts under httpd while browsers keep coming.</summary>
public sealed class RestartTests
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Restart_of_the_daemon_loses_no_client(Stack stack)
    {
        // 10 ms, then twice as long each time: together 10 s, longer than the new daemon takes to start.
        using var apache = new ApacheServer(stack, extra: "SocketHandoffMaxRetries 10");
        using var old = new DaemonUnderTest(apache.DefaultSocket, delayMs: 20);
        using var browsers = new Browsers(apache);
        browsers.WaitForMore(50);

        // The path disappears at once; running and queued streams continue.
        old.Signal(ChildProcess.SigTerm);
        Wait.Until(() => !File.Exists(apache.DefaultSocket), () => "The path stays.");
        using var successor = new DaemonUnderTest(apache.DefaultSocket, delayMs: 20);
        browsers.WaitForMore(50);

        var answers = browsers.End();
        Assert.All(answers, answer => Expect.WholeStream(answer));
        Wait.Until(() => old.HasExited, () => "The old daemon does not end.");
    }

    [Theory, MemberData(nameof(Both))]
    public void Daemon_that_closes_between_connect_and_send_is_asked_again(Stack stack)
    {
        string directory = Directory.CreateTempSubdirectory("late-sendmsg-").FullName;
        try
        {
            // httpd's worker removes a file in it.
            File.SetUnixFileMode(directory, (UnixFileMode)0b111_111_111);
            string preload = Path.Combine(directory, "late-sendmsg.so"), once = Path.Combine(directory, "once");
            File.WriteAllText(once, "");
            Tools.Compile(Path.Combine(Tools.Repository, "tests/apache/late-sendmsg.c"), preload);
            using var apache = new ApacheServer(
                stack, environment: [$"LD_PRELOAD={preload}", $"LATE_SENDMSG_ONCE={once}"]);
            using var listener = new HandoffListener(apache.DefaultSocket);
            using var curl = Curl.Start(apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket)));

            listener.AcceptOne().Dispose();

            Assert.Equal("""{"prompt":"hello"}""", Encoding.UTF8.GetString(listener.Serve("served")));
            curl.WaitForExit(Wait.Limit);
            Assert.Equal("served", curl.Output.Trim());
            Assert.False(File.Exists(once));
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    /// <summary>One after the other, some milliseconds apart; each requests a handoff.</summary>
    private sealed class Browsers : IDisposable
    {
        private readonly ConcurrentQueue<RawClient> _clients = new();
        private readonly Thread _thread;
        private volatile bool _ending;

        public Browsers(ApacheServer apache)
        {
            _thread = new Thread(() =>
            {
                string request = RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket));
                while (!_ending)
                {
                    var client = new RawClient(apache.Port);
                    client.Send(request);
                    _clients.Enqueue(client);
                    Thread.Sleep(5);
                }
            });
            _thread.Start();
        }

        public void WaitForMore(int count)
        {
            int enough = _clients.Count + count;
            Wait.Until(() => _clients.Count >= enough, () => $"{_clients.Count} browsers only.");
        }

        public List<string> End()
        {
            Stop();
            return [.. _clients.Select(client => client.ReadToEnd())];
        }

        public void Dispose()
        {
            Stop();
            foreach (var client in _clients)
                client.Dispose();
        }

        private void Stop()
        {
            _ending = true;
            _thread.Join();
        }
    }
}
