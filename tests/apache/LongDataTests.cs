using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>Handoff data that is longer than a message: in headers, or in a file that PHP names.</summary>
public sealed class LongDataTests
{
    private const int LongestMessage = 212_960;
    private const int Megabyte = 1_000_000;
    private const int AllSeals = 15;

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Headers_of_any_length_arrive_in_a_message_or_in_sealed_memory(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (int bytes in new[]
        {
            8_000, 200_000, LongestMessage, LongestMessage + 1, 5 * Megabyte,
        })
        {
            Assert.Equal(Expect.Numbers(bytes), Handed(apache, listener, $"&bytes={bytes}&line=8000"));
            Assert.Equal(bytes > LongestMessage, listener.Seals is not null);
            if (bytes > LongestMessage)
                Assert.Equal(AllSeals, listener.Seals & AllSeals);
        }
        Assert.DoesNotContain("[socket_handoff:error]", apache.Log, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public void Daemon_that_knows_messages_only_answers_a_400_and_the_log_says_why(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        using var curl = Curl.Start("-i", apache.Url(ApacheServer.HandoffPath(
            apache.DefaultSocket, data: null, $"&bytes={LongestMessage + 1}&line=8000")));

        Assert.Equal($"handoff-data/1 {LongestMessage + 1}\n", listener.ServeAsBefore());

        curl.WaitForExit(Wait.Limit);
        Assert.StartsWith("HTTP/1.1 400 Bad Request", curl.Output, StringComparison.Ordinal);
        apache.WaitForLog("does not know handoffs of more than 212960 bytes");
    }

    [Theory, MemberData(nameof(Both))]
    public void File_below_the_prefix_arrives_whole_and_is_removed(Stack stack)
    {
        using var apache = Start(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (int bytes in new[] { 0, 1, LongestMessage, LongestMessage + 1, 5 * Megabyte })
        {
            string file = NewFile(apache, "deeper/conversation.json", Expect.Numbers(bytes));
            string expected = bytes == 0 ? "\0" : Expect.Numbers(bytes);
            Assert.Equal(expected, Handed(apache, listener, "&file=" + Uri.EscapeDataString(file)));
            Assert.Equal(bytes > LongestMessage, listener.Seals is not null);
            Assert.False(File.Exists(file));
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void Headers_of_the_response_are_merged_into_a_file_too(Stack stack)
    {
        using var apache = Start(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        string text = $$"""{"prompt":"{{new string('x', Megabyte)}}"}""";
        string file = NewFile(apache, "one", text);

        string handed = Handed(apache, listener, $"&file={Uri.EscapeDataString(file)}&header[]=X-Own:%201");

        Assert.Contains("\"X-Own\":[\"1\"]", handed, StringComparison.Ordinal);
        Assert.Contains(text[1..^1], handed, StringComparison.Ordinal);
        // A NUL inside: not JSON, and for the daemon to say so.
        file = NewFile(apache, "two", text + "\0{}");
        Assert.Equal(text + "\0{}", Handed(apache, listener,
            $"&file={Uri.EscapeDataString(file)}&header[]=X-Own:%201"));
    }

    [Theory, MemberData(nameof(Both))]
    public void File_that_may_not_be_named_is_refused_with_the_reason_in_the_log(Stack stack)
    {
        using var apache = Start(stack);
        string data = apache.Root + "/data";
        string outside = Path.Combine(apache.Root, "outside.json");
        File.WriteAllText(outside, "{}");
        Directory.CreateDirectory(apache.Root + "/elsewhere");
        File.WriteAllText(apache.Root + "/elsewhere/file", "{}");
        File.CreateSymbolicLink(data + "/link", outside);
        File.CreateSymbolicLink(data + "/directory", apache.Root + "/elsewhere");
        Assert.Equal(0, ChildProcess.Run("ln", outside, data + "/second-name").ExitCode);
        Assert.Equal(0, ChildProcess.Run("mkfifo", data + "/fifo").ExitCode);
        Directory.CreateDirectory(data + "/folder");
        using var socket = new HandoffListener(data + "/socket");
        using (var sparse = File.Create(data + "/sparse"))
            sparse.SetLength(1L << 40);
        using (var large = File.Create(data + "/large"))
            large.SetLength((64 << 20) + 1);
        foreach (string file in new[] { data + "/sparse", data + "/large" })
            File.SetUnixFileMode(file, (UnixFileMode)0b110_110_110);
        foreach (var (file, status, reason) in new[]
        {
            (outside, 403, "is not below SocketHandoffDataPrefix"),
            (data + "/../outside.json", 403, "is not below SocketHandoffDataPrefix"),
            (data + "-beside", 403, "is not below SocketHandoffDataPrefix"),
            (data, 403, "is not below SocketHandoffDataPrefix"),
            ("relative", 403, "is not below SocketHandoffDataPrefix"),
            (data + "/link", 403, "a name in it is a link, or no directory"),
            (data + "/directory/file", 403, "a name in it is a link, or no directory"),
            (data + "/second-name", 403, "has more than one name"),
            (data + "/fifo", 403, "is no regular file"),
            (data + "/folder", 403, "is no regular file"),
            (data + "/socket", 403, "is no regular file"),
            (data + "/none", 500, "cannot be opened by httpd's user"),
            (data + "/sparse", 413, "is longer than 64 MiB"),
            (data + "/large", 413, "is longer than 64 MiB"),
        })
        {
            string answer = Curl.Run("-i", "-H", "Accept: application/json", apache.Url(ApacheServer.HandoffPath(
                apache.DefaultSocket, data: null, "&file=" + Uri.EscapeDataString(file))));
            Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
            Assert.Contains($"X-Handoff-Data-File {file}: {reason}", apache.Log, StringComparison.Ordinal);
            Assert.Equal(status == 413, answer.Contains("\"code\":\"handoff_too_large\"", StringComparison.Ordinal));
            Expect.NoHandoffHeaders(answer);
        }
        Assert.Equal("{}", File.ReadAllText(outside));
        Assert.True(File.Exists(apache.Root + "/elsewhere/file"));
        Assert.False(File.Exists(data + "/large"));
    }

    [Fact]
    public void File_of_as_much_as_a_daemon_may_take_arrives_whole()
    {
        using var apache = Start(Stack.PreforkWithModPhp);
        using var listener = new HandoffListener(apache.DefaultSocket);
        string file = NewFile(apache, "most", "begin");
        using (var sparse = File.OpenWrite(file))
            sparse.SetLength(64 << 20);
        using var curl = Curl.Start(apache.Url(ApacheServer.HandoffPath(
            apache.DefaultSocket, data: null, "&file=" + Uri.EscapeDataString(file))));

        byte[] data = listener.Serve("served");

        Assert.Equal(64 << 20, data.Length);
        Assert.Equal("begin\0"u8, data.AsSpan(0, 6));
    }

    /// <summary>As sites isolate their applications: PHP has a user of its own.</summary>
    [Fact]
    public void Files_of_another_user_s_php_are_read_and_removed_by_way_of_httpd_s_group()
    {
        if (!Environment.IsPrivilegedProcess)
            return; // Only root can start both.
        using var apache = new ApacheServer(Stack.EventWithPhpFpm,
            extra: "SocketHandoffDataPrefix {_root}/data", fpmUser: "nobody");
        PhpLibraryTests.CopyLibrary(apache);
        string data = Directory.CreateDirectory(apache.Root + "/data").FullName;
        Assert.Equal(0, ChildProcess.Run("chown", "nobody:www-data", data).ExitCode);
        Assert.Equal(0, ChildProcess.Run("chmod", "2770", data).ExitCode);
        using var listener = new HandoffListener(apache.DefaultSocket);
        string library = $"/library.php?socket={Uri.EscapeDataString(apache.DefaultSocket)}&length=40000";
        File.WriteAllText(apache.Root + "/body", $$"""{"prompt":"{{new string('x', 300_000)}}"}""");
        string[][] requests =
        [
            [apache.Url(library)],
            ["-H", "Content-Type: application/json", "-d", "@" + apache.Root + "/body", apache.Url("/chat/stream.php")],
        ];
        foreach (string[] request in requests)
        {
            using var curl = Curl.Start(request);
            Assert.True(listener.Serve("served").Length > LongestMessage);
            curl.WaitForExit(Wait.Limit);
            Assert.Equal("served", curl.Output.Trim());
            Assert.Empty(Directory.GetFiles(data));
        }

        // Without the group, httpd's user may not read them, and the log says what to do.
        Assert.Equal(0, ChildProcess.Run("chmod", "g-s,a+rwx", data).ExitCode);
        Assert.Equal(500, Curl.Status(apache.Url(library)));
        apache.WaitForLog("cannot be opened by httpd's user: give its directory httpd's group and mode 2770");
    }

    [Theory, MemberData(nameof(Both))]
    public void File_without_the_directive_is_a_500_that_names_it(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        Assert.Equal(500, Curl.Status(apache.Url(ApacheServer.HandoffPath(
            apache.DefaultSocket, data: null, "&file=/etc/hostname"))));
        Assert.Contains("SocketHandoffDataPrefix is not set", apache.Log, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public void File_of_a_handoff_that_does_not_take_place_is_removed(Stack stack)
    {
        using var apache = Start(stack);
        string file = NewFile(apache, "refused", "{}");
        Assert.Equal(403, Curl.Status(apache.Url(ApacheServer.HandoffPath(
            apache.DefaultSocket, data: null, $"&status=403&file={Uri.EscapeDataString(file)}"))));
        Assert.False(File.Exists(file));

        file = NewFile(apache, "nobody", "{}");
        Assert.Equal(503, Curl.Status(apache.Url(ApacheServer.HandoffPath(
            apache.DefaultSocket, data: null, $"&file={Uri.EscapeDataString(file)}"))));
        Assert.False(File.Exists(file));

        // Beside other data, or without a socket: nobody else would remove it.
        foreach (var (path, status) in new[]
        {
            (ApacheServer.HandoffPath(apache.DefaultSocket, data: "{}"), 500),
            (ApacheServer.HandoffPath(apache.DefaultSocket, data: null, "&part[1]=a"), 500),
            ("/handoff.php?session=1", 200),
            (ApacheServer.HandoffPath("/tmp/elsewhere.sock", data: null), 403),
        })
        {
            file = NewFile(apache, "left", "{}");
            Assert.Equal(status, Curl.Status("-g", apache.Url($"{path}&file={Uri.EscapeDataString(file)}")));
            Assert.False(File.Exists(file), path);
        }
    }

    /// <summary>With <c>ProxyErrorOverride</c> the module's filter never sees such a response.</summary>
    [Fact]
    public void File_of_an_error_that_httpd_answers_itself_is_removed()
    {
        using var apache = Start(Stack.EventWithPhpFpm, "ProxyErrorOverride On\nErrorDocument 404 /plain.txt");
        foreach (int status in new[] { 403, 404 })
        {
            string file = NewFile(apache, "overridden", "{}");
            string answer = Curl.Run("-i", apache.Url(ApacheServer.HandoffPath(
                apache.DefaultSocket, data: null, $"&status={status}&file={Uri.EscapeDataString(file)}")));
            Assert.StartsWith($"HTTP/1.1 {status} ", answer, StringComparison.Ordinal);
            Expect.NoHandoffHeaders(answer);
            Assert.False(File.Exists(file));
        }
    }

    [Fact]
    public void Prefix_of_files_may_be_the_root()
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp, extra: "SocketHandoffDataPrefix /");
        using var listener = new HandoffListener(apache.DefaultSocket);
        string data = Directory.CreateDirectory(apache.Root + "/data").FullName;
        File.SetUnixFileMode(data, (UnixFileMode)0b111_111_111);
        string file = NewFile(apache, "one", "all of it");

        Assert.Equal("all of it", Handed(apache, listener, "&file=" + Uri.EscapeDataString(file)));
        Assert.False(File.Exists(file));
    }

    [Theory, MemberData(nameof(Both))]
    public void File_beside_data_in_a_header_is_a_500(Stack stack)
    {
        using var apache = Start(stack);
        string file = NewFile(apache, "both", "{}");
        Assert.Equal(500, Curl.Status(apache.Url(ApacheServer.HandoffPath(
            apache.DefaultSocket, data: "{}", $"&file={Uri.EscapeDataString(file)}"))));
        Assert.Contains("X-Handoff-Data is there beside X-Handoff-Data-File", apache.Log, StringComparison.Ordinal);
    }

    [Fact]
    public void Socket_of_php_itself_is_told_apart_and_gets_no_client()
    {
        using var apache = new ApacheServer(Stack.EventWithPhpFpm, extra: "SocketHandoffAllowedPrefix {_root}");
        string answer = Curl.Run("-i", apache.Url(ApacheServer.HandoffPath(apache.Root + "/fpm.sock")));
        Assert.StartsWith("HTTP/1.1 500 ", answer, StringComparison.Ordinal);
        Assert.Contains("fpm.sock is the socket of PHP itself (FastCGI), not of the daemon", apache.Log,
            StringComparison.Ordinal);
        Assert.Contains("[socket_handoff:warn]", apache.Log, StringComparison.Ordinal);
    }

    private static ApacheServer Start(Stack stack, string extra = "")
    {
        var apache = new ApacheServer(stack, extra: "SocketHandoffDataPrefix {_root}/data/\n" + extra);
        const UnixFileMode everybody = (UnixFileMode)0b111_111_111;
        foreach (string name in new[] { "data", "data/deeper" })
            File.SetUnixFileMode(Directory.CreateDirectory(Path.Combine(apache.Root, name)).FullName, everybody);
        return apache;
    }

    private static string NewFile(ApacheServer apache, string name, string text)
    {
        string file = Path.Combine(apache.Root, "data", name);
        File.WriteAllText(file, text);
        File.SetUnixFileMode(file, (UnixFileMode)0b110_100_100);
        return file;
    }

    private static string Handed(ApacheServer apache, HandoffListener listener, string headers)
    {
        using var curl = Curl.Start("-g", apache.Url(
            ApacheServer.HandoffPath(apache.DefaultSocket, data: null, headers)));
        string data = Encoding.ASCII.GetString(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
        return data;
    }
}
