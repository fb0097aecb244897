using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>What httpd sends over the Unix socket, and how long it waits.</summary>
public sealed class ConnectTests(SharedServers servers)
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    public static TheoryData<Stack, SocketType> BothAndTypes => new()
    {
        { Stack.PreforkWithModPhp, SocketType.Seqpacket },
        { Stack.PreforkWithModPhp, SocketType.Stream },
        { Stack.EventWithPhpFpm, SocketType.Seqpacket },
        { Stack.EventWithPhpFpm, SocketType.Stream },
    };

    [Theory, MemberData(nameof(BothAndTypes))]
    public void Data_arrives_byte_for_byte(Stack stack, SocketType type)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/exact.sock";
        using var listener = new HandoffListener(socket, type);
        const string data = """{"prompt":"a \u00e9 \"quoted\" ; = , text"}""";
        using var curl = Curl.Start(apache.Url(ApacheServer.HandoffPath(socket, data)));

        Assert.Equal(data, Encoding.UTF8.GetString(listener.Serve("served")));
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
    }

    [Theory, MemberData(nameof(BothAndTypes))]
    public void Absent_data_is_one_zero_byte(Stack stack, SocketType type)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/empty.sock";
        using var listener = new HandoffListener(socket, type);
        foreach (string? data in new[] { null, "" })
        {
            using var curl = Curl.Start(apache.Url(ApacheServer.HandoffPath(socket, data)));
            Assert.Equal([0], listener.Serve("served"));
            curl.WaitForExit(Wait.Limit);
            Assert.Equal("served", curl.Output.Trim());
        }
    }

    // mod_proxy_fcgi takes 8191 bytes a header line; a Unix datagram holds 212960 with the default buffer.
    [Theory]
    [InlineData(Stack.PreforkWithModPhp, SocketType.Seqpacket, 200_000)]
    [InlineData(Stack.PreforkWithModPhp, SocketType.Stream, 1_000_000)]
    [InlineData(Stack.EventWithPhpFpm, SocketType.Seqpacket, 8_000)]
    [InlineData(Stack.EventWithPhpFpm, SocketType.Stream, 8_000)]
    public void Large_data_arrives_whole(Stack stack, SocketType type, int bytes)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/large.sock";
        using var listener = new HandoffListener(socket, type);
        string path = ApacheServer.HandoffPath(socket, data: null, more: $"&bytes={bytes}");
        using var curl = Curl.Start(apache.Url(path));

        Assert.Equal(Expect.Numbers(bytes), Encoding.ASCII.GetString(listener.Serve("served")));
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
    }

    [Theory, MemberData(nameof(BothAndTypes))]
    public void Full_accept_queue_is_waited_for(Stack stack, SocketType type)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/full.sock";
        using var listener = new HandoffListener(socket, type, backlog: 0);
        var waiting = listener.FillQueue();
        Assert.NotEmpty(waiting);
        using var curl = Curl.Start("-H", "Host: patient.test", apache.Url(ApacheServer.HandoffPath(socket)));
        apache.WaitForLog("requested to " + socket);
        Thread.Sleep(100);

        foreach (var client in waiting)
        {
            listener.AcceptOne().Dispose();
            client.Dispose();
        }
        Assert.NotEmpty(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
    }

    [Theory, MemberData(nameof(BothAndTypes))]
    public void Accept_queue_that_stays_full_is_a_503(Stack stack, SocketType type)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/stuck.sock";
        using var listener = new HandoffListener(socket, type, backlog: 0);
        var waiting = listener.FillQueue();

        Assert.Equal(503, Curl.Status(apache.Url(ApacheServer.HandoffPath(socket))));
        waiting.ForEach(client => client.Dispose());
    }

    [Theory, MemberData(nameof(Both))]
    public void Daemon_that_is_just_starting_is_waited_for(Stack stack)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/late.sock";
        using var curl = Curl.Start("-H", "Host: patient.test", apache.Url(ApacheServer.HandoffPath(socket)));
        apache.WaitForLog($"connect to {socket} failed, retrying");

        using var listener = new HandoffListener(socket);
        Assert.NotEmpty(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
    }

    [Theory, MemberData(nameof(Both))]
    public void Daemon_that_listens_with_a_stream_socket_is_served_too(Stack stack)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/stream.sock";
        using var daemon = new DaemonUnderTest(socket, SharedServers.DelayMs, stream: true);
        Expect.WholeStream(Curl.Run(apache.Url(ApacheServer.HandoffPath(socket))));
    }
}
