using System.Net.Sockets;
using System.Text;
using System.Text.Json;

namespace StreamingDaemon.ApacheTests;

/// <summary>Handoff data in several headers: <c>X-Handoff-Data-1</c>, <c>-2</c> and so on.</summary>
public sealed class PartsTests(SharedServers servers)
{
    /// <summary>mod_proxy_fcgi takes lines of 8189 bytes, "X-Handoff-Data-1: " included.</summary>
    private const int LongestPart = 8_189 - 18;

    public static TheoryData<Stack> Both => SharedServers.Both;

    public static TheoryData<Stack, SocketType> BothAndTypes => ConnectTests.BothAndTypes;

    [Theory, MemberData(nameof(BothAndTypes))]
    public void Parts_arrive_joined_in_order_of_their_numbers(Stack stack, SocketType type)
    {
        var apache = servers[stack];
        string socket = apache.SocketDirectory + "/parts.sock";
        using var listener = new HandoffListener(socket, type);
        foreach (var (bytes, line) in new[]
        {
            (LongestPart - 1, LongestPart), (LongestPart, LongestPart), (LongestPart + 1, LongestPart),
            (16_000, 8_000), (16_001, 8_000), (100, 1), (200_000, 8_000),
        })
        {
            Assert.Equal(Expect.Numbers(bytes), Handed(apache, listener, socket, $"&bytes={bytes}&line={line}"));
        }
        Assert.Equal("abc", Handed(apache, listener, socket, "&part[3]=c&part[1]=a&part[2]=b"));
    }

    [Fact]
    public void Part_that_is_longer_than_a_line_of_fpm_is_a_500()
    {
        var apache = servers[Stack.EventWithPhpFpm];
        string path = ApacheServer.HandoffPath(apache.DefaultSocket, data: null,
            $"&bytes={LongestPart + 1}&line={LongestPart + 1}");
        Assert.Equal(500, Curl.Status(apache.Url(path)));
        Assert.Contains("Premature end of script headers", apache.Log, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public void Parts_that_make_no_whole_value_are_a_500_with_the_reason_in_the_log(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (var (headers, reason) in new[]
        {
            ("&part[1]=a&part[3]=c", "X-Handoff-Data-2 is missing, X-Handoff-Data-3 is there"),
            ("&part[2]=b", "X-Handoff-Data-1 is missing, X-Handoff-Data-2 is there"),
            ("&part[1]=a&part[9999]=b", "X-Handoff-Data-2 is missing, X-Handoff-Data-9999 is there"),
            ("&data=x&part[1]=a", "X-Handoff-Data is there both whole and in parts"),
            ("&part[0]=a&part[1]=b", "X-Handoff-Data-0: parts have the numbers 1 to 9999"),
            ("&part[01]=a", "X-Handoff-Data-01: parts have the numbers 1 to 9999"),
            ("&part[10000]=a", "X-Handoff-Data-10000: parts have the numbers 1 to 9999"),
            ("&part[4294967297]=a", "X-Handoff-Data-4294967297: parts have the numbers 1 to 9999"),
            ("&part[-1]=a", "X-Handoff-Data--1: parts have the numbers 1 to 9999"),
            ("&part[one]=a", "X-Handoff-Data-one: parts have the numbers 1 to 9999"),
            ("&part[1x]=a", "X-Handoff-Data-1x: parts have the numbers 1 to 9999"),
            ("&again[-]=a", "X-Handoff-Data-: parts have the numbers 1 to 9999"),
        })
        {
            string answer = Curl.Run("-i", "-g",
                apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket, data: null, headers)));
            Assert.StartsWith("HTTP/1.1 500 ", answer, StringComparison.Ordinal);
            Expect.NoHandoffHeaders(answer);
            Assert.Contains(reason, apache.Log, StringComparison.Ordinal);
        }
        // Nothing waits for the daemon: the connection that comes next is this one.
        Assert.Equal("a", Handed(apache, listener, apache.DefaultSocket, "&part[1]=a"));
    }

    /// <summary>mod_proxy_fcgi merges repeated headers with a comma before the module sees them.</summary>
    [Theory]
    [InlineData("&part[1]=a&again[-1]=b", "X-Handoff-Data-1 is there twice")]
    [InlineData("&data=a&again[whole]=b", "X-Handoff-Data is there twice")]
    public void Header_that_is_there_twice_is_a_500_with_mod_php(string headers, string reason)
    {
        using var apache = new ApacheServer(Stack.PreforkWithModPhp);
        string path = ApacheServer.HandoffPath(apache.DefaultSocket, data: null, headers);
        Assert.Equal(500, Curl.Status("-g", apache.Url(path)));
        Assert.Contains(reason, apache.Log, StringComparison.Ordinal);
    }

    [Theory, MemberData(nameof(Both))]
    public void Parts_without_a_socket_or_with_the_module_off_never_reach_the_client(Stack stack)
    {
        var apache = servers[stack];
        string[] parts = ["-g", "-i", apache.Url("/handoff.php?part[1]=secret&part[2]=secret&part[x]=secret")];
        foreach (string host in new[] { "localhost", "disabled.test" })
        {
            string answer = Curl.Run(["-H", "Host: " + host, .. parts]);
            Assert.StartsWith("HTTP/1.1 200 OK", answer, StringComparison.Ordinal);
            Assert.DoesNotContain("secret", answer, StringComparison.Ordinal);
            Expect.NoHandoffHeaders(answer);
        }
    }

    /// <summary>Spaces where the lines are cut, characters of several bytes there, and 200 KB of them.</summary>
    [Theory, MemberData(nameof(Both))]
    public void Stream_php_hands_over_a_long_conversation_whole(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var listener = new HandoffListener(apache.DefaultSocket);
        foreach (string prompt in new[]
        {
            new string(' ', 40_000) + "end", "x" + new string(' ', 40_000) + "end",
            string.Concat(Enumerable.Repeat("日本語 🙂\t\"\\ ", 8_000)) + "end", new string('x', 7_999),
            new string('x', 8_000), new string('x', 16_000), new string('x', 200_000),
            string.Concat(Enumerable.Repeat("a b", 60_000)), string.Concat(Enumerable.Repeat(" \\", 40_000)) + ".",
        })
        {
            string file = Path.Combine(apache.Root, "body.json");
            File.WriteAllText(file, JsonSerializer.Serialize(
                new { messages = new[] { new { role = "user", content = prompt } } },
                s_relaxed), new UTF8Encoding(false));
            using var curl = Curl.Start("-H", "Content-Type: application/json", "--data-binary", "@" + file,
                apache.Url("/chat/stream.php"));
            using var handoff = JsonDocument.Parse(listener.Serve("served"));
            Assert.Equal(prompt, handoff.RootElement.GetProperty("messages")[0].GetProperty("content").GetString());
            curl.WaitForExit(Wait.Limit);
            Assert.Equal("served", curl.Output.Trim());
        }
    }

    private static readonly JsonSerializerOptions s_relaxed = new()
    {
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
    };

    private static string Handed(ApacheServer apache, HandoffListener listener, string socket, string headers)
    {
        using var curl = Curl.Start("-g", apache.Url(ApacheServer.HandoffPath(socket, data: null, headers)));
        string data = Encoding.ASCII.GetString(listener.Serve("served"));
        curl.WaitForExit(Wait.Limit);
        Assert.Equal("served", curl.Output.Trim());
        return data;
    }
}
