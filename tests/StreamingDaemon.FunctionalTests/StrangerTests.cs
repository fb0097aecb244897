using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Commands that talk to another server instead of a daemon, or to a broken daemon. They end with
/// exit code 1 and one sentence, in bounded time and memory.</summary>
[Trait("Takes", "Long")]
public sealed class StrangerTests : IDisposable
{
    private const string Ok = "HTTP/1.1 200 OK\r\n";
    private const string Stream = Ok + "Content-Type: text/event-stream\r\n\r\n";
    private static readonly string s_kilobyte = new('x', 1024);
    private readonly TempDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    public static TheoryData<string, string, string, int> Answers => new()
    {
        { "redirect to a file", "HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\nContent-Length: 0\r\n\r\n", "", 0 },
        { "redirect elsewhere", "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", "", 0 },
        { "redirect without end", "HTTP/1.1 301 Moved\r\nLocation: /health/ready\r\nContent-Length: 0\r\n\r\n", "", 0 },
        { "heads without end", Ok, "X-A: " + s_kilobyte + "\r\n", 0 },
        { "a line without end", Ok + "X: ", s_kilobyte, 0 },
        { "a body without end", Ok + "Connection: close\r\n\r\n", s_kilobyte, 0 },
        { "an error with a body without end", "HTTP/1.1 503 No\r\nConnection: close\r\n\r\n", s_kilobyte, 0 },
        { "one byte a time", Ok + "Content-Length: 1000000\r\n\r\n", "x", 300 },
        { "one byte of a head a time", "H", "T", 300 },
        { "garbage", "\u001b[2Jrm -rf\0\u0001\r\n\r\n", "", 0 },
        { "nothing", "", "", 0 },
        { "TLS", "\u0015\u0003\u0001\u0000\u0002\u0002\u0046", "", 0 },
        { "HTTP/0.9", "<html>hello</html>", "", 0 },
        { "continue without end", "", "HTTP/1.1 100 Continue\r\n\r\n", 1 },
        { "chunks without end", Ok + "Transfer-Encoding: chunked\r\n\r\n", "400\r\n" + s_kilobyte + "\r\n", 0 },
        { "a chunk of no size", Ok + "Transfer-Encoding: chunked\r\n\r\nzzz\r\n", "", 0 },
        { "a chunk of a huge size", Ok + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", "", 0 },
        { "a huge length", Ok + "Content-Length: 9223372036854775807\r\n\r\n", "", 0 },
        { "a length of no number", Ok + "Content-Length: -1\r\n\r\n", "", 0 },
        { "compressed", Ok + "Content-Encoding: gzip\r\nContent-Length: 100000000\r\n\r\n", s_kilobyte, 0 },
        { "a status of words", "HTTP/1.1 503 \u001b[31mred\r\nContent-Length: 24\r\n\r\n{\"status\":\"\\u001b[31m!\"}", "", 0 },
    };

    [Theory]
    [MemberData(nameof(Answers))]
    public async Task Health_of_a_stranger_is_exit_1_and_a_sentence(
        string kind, string first, string repeated, int pauseMs)
    {
        Assert.NotEmpty(kind);
        using var stranger = Stranger.OnPort(first, repeated, pauseMs);

        var (exitCode, output, error) = await RunAsync("health", "--metrics", Number(stranger.Port));

        Assert.Equal((1, ""), (exitCode, error));
        Assert.Matches("^(unreachable|unknown): 127\\.0\\.0\\.1:[0-9]+[: ][^\\n\u001b]+\\n$", output);
        Assert.DoesNotContain("   at ", output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("a line without end", Stream + "data: ", "x", "has a line of more than")]
    [InlineData("a head without end", Ok, "X-A: b\r\n", "the answer's head has more than")]
    [InlineData("a head line without end", Ok + "X", "x", "has a line of more than")]
    [InlineData("an answer without end", Stream, "data: {\"content\":\"0123456789012345678901234567890123456789\"}\n\n", "the answer has more than 268435456 bytes")]
    public async Task Send_ends_at_a_size_if_the_answer_has_no_end(string kind, string first, string repeated, string said)
    {
        Assert.NotEmpty(kind);
        var more = string.Concat(Enumerable.Repeat(repeated, 100_000));
        using var stranger = Stranger.OnPath(_directory, first, more);

        var (exitCode, peakKib, error) = await SendMeasuredAsync(stranger.Path);

        Assert.Equal(1, exitCode);
        Assert.Contains(said, error, StringComparison.Ordinal);
        Assert.StartsWith($"streaming-daemon: {stranger.Path}: ", error, StringComparison.Ordinal);
        Assert.InRange(peakKib, 0, 400 * 1024);
    }

    [Theory]
    [InlineData("", "the daemon closed the connection without an answer")]
    [InlineData("220 mail ESMTP\r\n", "it sent no HTTP response")]
    [InlineData(Stream + "data: {\"content\":\"a\"}\n\n", "the answer ended before its [DONE]")]
    [InlineData("HTTP/1.1 503 No\r\n\r\nlater\n", "HTTP status 503")]
    public async Task Send_whose_answer_is_not_whole_says_so(string answer, string said)
    {
        using var stranger = Stranger.OnPath(_directory, answer);

        var (exitCode, _, error) = await RunAsync("send", "--socket", stranger.Path, "--prompt", "x");

        Assert.Equal(1, exitCode);
        Assert.Contains(said, error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
    }

    [Theory]
    [InlineData("nothing at all", "", "", SocketType.Seqpacket)]
    [InlineData("a byte now and then", Stream, "x", SocketType.Seqpacket)]
    [InlineData("a byte of the head now and then", "H", "T", SocketType.Stream)]
    public async Task Send_ends_at_its_timeout_if_the_peer_sends_too_little(
        string kind, string first, string repeated, SocketType type)
    {
        Assert.NotEmpty(kind);
        using var stranger = Stranger.OnPath(_directory, first, repeated, pauseMs: 100, holds: true, type);

        var (exitCode, _, error) = await RunAsync(
            "send", "--socket", stranger.Path, "--prompt", "x", "--timeout", "2");

        Assert.Equal(1, exitCode);
        Assert.Equal($"streaming-daemon: {stranger.Path}: the answer did not end within 2 s (--timeout)\n", error);
    }

    [Theory]
    [InlineData("fifo")]
    [InlineData("file")]
    [InlineData("directory")]
    [InlineData("datagram")]
    public async Task Send_to_what_is_no_socket_of_a_daemon_says_so(string kind)
    {
        var path = _directory.File("other");
        using var datagram = new Socket(AddressFamily.Unix, SocketType.Dgram, ProtocolType.Unspecified);
        switch (kind)
        {
            case "fifo":
                Assert.Equal(0, Posix.MakeFifo(path));
                break;
            case "file":
                await File.WriteAllTextAsync(path, "mine");
                break;
            case "directory":
                Directory.CreateDirectory(path);
                break;
            default:
                datagram.Bind(new UnixDomainSocketEndPoint(path));
                break;
        }

        var (exitCode, output, error) = await RunAsync("send", "--socket", path, "--prompt", "x");

        Assert.Equal((1, ""), (exitCode, output));
        Assert.StartsWith($"streaming-daemon: {path}: connect: ", error, StringComparison.Ordinal);
        Assert.Single(error.TrimEnd('\n').Split('\n'));
    }

    [Fact]
    public async Task Send_whose_output_nobody_reads_ends_at_its_timeout()
    {
        using var stranger = Stranger.OnPath(_directory, Stream, "data: {}\n\n");
        using var full = new FullPipe();
        string[] arguments = ["send", "--socket", stranger.Path, "--prompt", "x", "--timeout", "2"];

        var (exitCode, _, error) = await DaemonProcess.RunUnderAsync(
            ["sh", "-c", $"exec \"$@\" >{full.Path}", "sh"], arguments);

        // No sentence: the runtime blocks writes to standard error while a write to standard output blocks.
        Assert.Equal((1, ""), (exitCode, error));
    }

    [Fact]
    public async Task Send_to_a_terminal_prints_no_commands_for_it()
    {
        using var stranger = Stranger.OnPath(_directory, Stream + "data: \u001b[2J\u0007red\n\ndata: [DONE]\n\n");
        var command = string.Join(' ', [.. DaemonProcess.Command(), "send", "--socket", stranger.Path, "--prompt", "x"]);

        // script(1) runs the command on a terminal.
        using var process = Process.Start(new ProcessStartInfo("script", ["-qec", command, "/dev/null"])
        { RedirectStandardOutput = true, RedirectStandardInput = true })!;
        var output = await process.StandardOutput.ReadToEndAsync().WaitAsync(TestClient.Patience);

        Assert.Contains("[2J", output, StringComparison.Ordinal);
        Assert.DoesNotContain("\u001b[2J", output, StringComparison.Ordinal);
        Assert.DoesNotContain('\u0007', output);
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Check_and_start_name_a_database_of_groups_that_does_not_answer()
    {
        // The C library loads this module because nsswitch.conf(5) names it.
        var library = CTool.Compile(_directory, "stuck-groups", "-shared", "-fPIC");
        File.Move(library, _directory.File("libnss_stuck.so.2"));
        var configuration = _directory.File("nsswitch.conf");
        await File.WriteAllTextAsync(configuration, "group: stuck\n");
        string[] wrapper = ["unshare", "-rm", "sh", "-c",
            $"mount --bind {configuration} /etc/nsswitch.conf && LD_LIBRARY_PATH={_directory.Path} exec \"$@\"", "sh"];
        string[] arguments = ["--socket", _directory.File("s"), "--socket-group", "no-number"];

        var (checkCode, table, _) = await DaemonProcess.RunUnderAsync(wrapper, ["check", .. arguments]);
        var (startCode, _, error) = await DaemonProcess.RunUnderAsync(wrapper, arguments);

        Assert.Equal((1, 1), (checkCode, startCode));
        Assert.Matches("failed +socket .*the database of groups did not answer", table);
        Assert.Contains("the database of groups did not answer", error, StringComparison.Ordinal);
    }

    private static Task<(int ExitCode, string Output, string Error)> RunAsync(params string[] arguments) =>
        DaemonProcess.RunAsync(arguments);

    private static string Number(int number) => number.ToString(CultureInfo.InvariantCulture);

    /// <summary>Runs <c>send</c> and drops its output. Also returns its peak memory.</summary>
    private async Task<(int ExitCode, long PeakKib, string Error)> SendMeasuredAsync(string path)
    {
        var start = DaemonProcess.StartInfo(null, _directory.Path, ["send", "--socket", path, "--prompt", "x"],
            "sh", "-c", "exec \"$@\" >/dev/null", "sh");
        using var process = Process.Start(start)!;
        var error = process.StandardError.ReadToEndAsync();
        var peak = 0L;
        await Eventually.TrueAsync(() =>
        {
            peak = Math.Max(peak, PeakOf(process.Id));
            return process.HasExited;
        }, TimeSpan.FromSeconds(60));
        return (process.ExitCode, peak, await error);
    }

    /// <summary>Peak resident memory: VmHWM in proc_pid_status(5).</summary>
    private static long PeakOf(int pid)
    {
        try
        {
            var line = File.ReadLines($"/proc/{pid}/status")
                .FirstOrDefault(l => l.StartsWith("VmHWM:", StringComparison.Ordinal));
            return line is null ? 0 : long.Parse(line.Split(' ')[^2], CultureInfo.InvariantCulture);
        }
        catch (IOException)
        {
            // The process has ended.
            return 0;
        }
    }
}
