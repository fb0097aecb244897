using System.Collections.Concurrent;
using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A new daemon replaces an old one while handoffs keep arriving.</summary>
[Trait("Takes", "Long")]
public sealed class DeployTests : IDisposable
{
    private const int SigKill = 9;
    private const int SigCont = 18;
    private const int SigStop = 19;
    private const int SigTerm = 15;
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public async Task Sigterm_with_500_streams_and_500_queued_handoffs_ends_all_of_them_whole()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "200");
        var running = Enumerable.Range(0, 500).Select(_ => TestClient.HandOver(daemon.SocketPath, "{}")).ToList();
        foreach (var client in running)
            _ = await TestClient.ReadUntilAsync(client, "\n\n");

        // SIGSTOP, so that handoffs stay in the accept queue. Then SIGTERM, while they are in it.
        daemon.Signal(SigStop);
        var queued = Enumerable.Range(0, 500).Select(_ => TestClient.HandOver(daemon.SocketPath, "{}")).ToList();
        daemon.Signal(SigTerm);
        daemon.Signal(SigCont);

        foreach (var client in running)
            Assert.EndsWith("data: [DONE]\n\n", await TestClient.ReadTextAsync(client), StringComparison.Ordinal);
        foreach (var client in queued)
            Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(client)).IsDone);
        Assert.Equal(0, await daemon.ExitCodeAsync());
        Assert.Equal(1000, daemon.LogLines("\"Outcome\":\"Completed\"").Count);
    }

    [Fact]
    public async Task Takeover_under_a_stream_of_handoffs_loses_none()
    {
        var path = _directory.File("s");
        await using var old = await DaemonProcess.StartAsync("--delay", "20", "--socket", path);
        using var handoffs = new HandoffStream(path);
        await Eventually.TrueAsync(() => handoffs.Sent >= 100);

        await using var successor = await DaemonProcess.StartAsync("--delay", "20", "--socket", path, "--takeover");
        var before = handoffs.Sent;
        await Eventually.TrueAsync(() => handoffs.Sent >= before + 100);
        old.Signal(SigTerm);
        Assert.Equal(0, await old.ExitCodeAsync());
        Assert.True(File.Exists(path));
        before = handoffs.Sent;
        await Eventually.TrueAsync(() => handoffs.Sent >= before + 100);

        var answers = await handoffs.EndAsync();
        Assert.All(answers, a => Assert.True(a.IsDone, a.Raw));
        await Eventually.TrueAsync(() => Completed(old) + Completed(successor) == answers.Count);
        Assert.True(Completed(old) >= 100);
        Assert.True(Completed(successor) >= 200);
        successor.Signal(SigTerm);
        Assert.Equal(0, await successor.ExitCodeAsync());
        Assert.Empty(Directory.GetFileSystemEntries(_directory.Path));
    }

    [Fact]
    public async Task Killed_daemon_is_replaced_by_the_next_start()
    {
        var path = _directory.File("s");
        await using (var killed = await DaemonProcess.StartAsync("--delay", "0", "--socket", path))
        {
            killed.Signal(SigKill);
            Assert.Equal(128 + SigKill, await killed.ExitCodeAsync());
        }

        Assert.True(File.Exists(path));
        await using var next = await DaemonProcess.StartAsync("--delay", "0", "--socket", path);

        using var client = TestClient.HandOver(path, "{}");
        Assert.True(Answer.Parse(await TestClient.ReadToEndAsync(client)).IsDone);
    }

    [Fact]
    public async Task Group_that_does_not_exist_ends_the_start_with_its_name()
    {
        var (exitCode, _, error) = await DaemonProcess.RunAsync(
            "--socket", _directory.File("s"), "--socket-group", "no-such-group");

        Assert.Equal(1, exitCode);
        Assert.Contains("server.socket_group", error, StringComparison.Ordinal);
        Assert.Contains("'no-such-group'", error, StringComparison.Ordinal);
    }

    private static int Completed(DaemonProcess daemon) => daemon.LogLines("\"Outcome\":\"Completed\"").Count;

    /// <summary>Hands over one client after the other and reads their answers, until it is stopped.</summary>
    private sealed class HandoffStream : IDisposable
    {
        private readonly ConcurrentBag<Task<Answer>> _answers = [];
        private readonly Thread _thread;
        private Exception? _failure;
        private volatile bool _ending;

        public HandoffStream(string path)
        {
            _thread = new Thread(() => Run(path)) { IsBackground = true };
            _thread.Start();
        }

        public int Sent => _answers.Count;

        public async Task<IReadOnlyList<Answer>> EndAsync()
        {
            Dispose();
            Assert.Null(_failure);
            return await Task.WhenAll(_answers);
        }

        public void Dispose()
        {
            _ending = true;
            _thread.Join();
        }

        private void Run(string path)
        {
            try
            {
                while (!_ending)
                {
                    var client = HandOver(path);
                    _answers.Add(ReadAsync(client));
                    Thread.Sleep(2);
                }
            }
            catch (Exception e)
            {
                _failure = e;
            }
        }

        /// <summary>Like the module: retries ENOENT and ECONNREFUSED twice; any other error is final.
        /// </summary>
        private static Socket HandOver(string path)
        {
            for (var attempt = 0; ; attempt++)
            {
                try
                {
                    return TestClient.HandOver(path, "{}");
                }
                catch (PosixException e) when (e.Errno is 2 or 111 && attempt < 2)
                {
                    Thread.Sleep(10 << attempt);
                }
            }
        }

        private static async Task<Answer> ReadAsync(Socket client)
        {
            using (client)
                return Answer.Parse(await TestClient.ReadToEndAsync(client));
        }
    }
}
