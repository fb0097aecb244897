using System.Globalization;

namespace StreamingDaemon.ApacheTests;

/// <summary>Nothing of a handoff remains in httpd.</summary>
public sealed class WorkerTests(SharedServers servers)
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Two_workers_start_twenty_streams_and_are_free(Stack stack)
    {
        using var apache = new ApacheServer(stack, maxWorkers: 2);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 500);
        string request = RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket));
        List<RawClient> clients = [];
        try
        {
            for (int i = 0; i < 20; i++)
            {
                clients.Add(new RawClient(apache.Port));
                clients[i].Send(request);
            }
            // Twenty streams of 8.5 s each, two at a time, would take more than a minute to begin.
            clients.ForEach(client => client.ReadUntil("data: {"));
            Assert.All(clients, client => Assert.False(client.Ended));
            Assert.Equal("plain", Curl.Run(apache.Url("/plain.txt")).Trim());
            Assert.All(clients, client => Assert.True(Expect.ContentEvents(client.Received) < Expect.Events));
        }
        finally
        {
            clients.ForEach(client => client.Dispose());
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void Stopping_httpd_does_not_cut_a_stream(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 200);
        using var client = new RawClient(apache.Port);
        client.Send(RawClient.Get(ApacheServer.HandoffPath(apache.DefaultSocket)));
        client.ReadUntil("data: {");

        apache.Stop();
        Assert.True(Expect.ContentEvents(client.Received) < Expect.Events);
        Expect.WholeStream(client.ReadToEnd());
    }

    [Theory, MemberData(nameof(Both))]
    public void Httpd_keeps_no_copy_of_the_socket(Stack stack)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/copy.sock";
        using var listener = new HandoffListener(socket);
        using var client = new RawClient(apache.Port);
        // Kept alive first: by then the event MPM has had the socket in its poll set.
        client.Send(RawClient.Get("/plain.txt"));
        client.ReadUntil("plain\n");
        string inode = ServerSideInode(apache.Port, client.LocalPort);
        Assert.NotEmpty(HoldersOf(inode));

        client.Send(RawClient.Get(ApacheServer.HandoffPath(socket)));
        using var connection = listener.AcceptOne();
        // The handoff is in the queue, so the daemon's copy is in no process's table: httpd's would be seen.
        Wait.Until(() => HoldersOf(inode).Count == 0, () => string.Join(' ', HoldersOf(inode)));
    }

    [Theory, MemberData(nameof(Both))]
    public void Access_log_names_the_daemon_that_got_the_client(Stack stack)
    {
        var apache = servers[stack];
        Expect.WholeStream(Curl.Run(apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket))));
        Wait.Until(() => apache.AccessLog.Contains($"200 - /handoff.php handoff={apache.DefaultSocket}",
            StringComparison.Ordinal), () => apache.AccessLog);
    }

    [Theory, MemberData(nameof(Both))]
    public void Handoff_leaves_no_complaint_in_the_error_log(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 1);
        string url = apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket));
        for (int i = 0; i < 10; i++)
            Expect.WholeStream(Curl.Run("-d", "a=b", url));
        apache.Stop();

        Assert.Contains("client handed to", apache.Log, StringComparison.Ordinal);
        foreach (string level in new[] { ":warn]", ":error]", ":crit]", ":alert]", ":emerg]" })
            Assert.True(!apache.Log.Contains(level, StringComparison.Ordinal), apache.Log);
    }

    /// <summary>Inode of the server's end of this connection. Compares both ports: another process's socket
    /// may have the same remote one.</summary>
    private static string ServerSideInode(int serverPort, int clientPort)
    {
        string local = serverPort.ToString("X4", CultureInfo.InvariantCulture);
        string remote = clientPort.ToString("X4", CultureInfo.InvariantCulture);
        return File.ReadLines("/proc/net/tcp").Skip(1)
            .Select(line => line.Split(' ', StringSplitOptions.RemoveEmptyEntries))
            .Where(fields => fields[1].EndsWith(":" + local, StringComparison.Ordinal)
                && fields[2].EndsWith(":" + remote, StringComparison.Ordinal))
            .Select(fields => fields[9]).Single();
    }

    /// <summary>Processes that have this socket open. As root all of them, otherwise our own.</summary>
    private static List<string> HoldersOf(string inode)
    {
        List<string> holders = [];
        foreach (string process in Directory.GetDirectories("/proc").Where(path => char.IsDigit(path[6])))
        {
            try
            {
                var targets = Directory.GetFiles(process + "/fd").Select(fd => new FileInfo(fd).LinkTarget);
                if (targets.Contains($"socket:[{inode}]"))
                    holders.Add(process);
            }
            catch (Exception gone) when (gone is IOException or UnauthorizedAccessException)
            {
                // A process that ended meanwhile, or another user's.
            }
        }
        return holders;
    }
}
