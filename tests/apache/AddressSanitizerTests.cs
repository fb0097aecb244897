namespace StreamingDaemon.ApacheTests;

/// <summary>The module touches only its own memory.</summary>
public sealed class AddressSanitizerTests
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Handoffs_and_refusals_show_no_memory_error(Stack stack)
    {
        string library = ChildProcess.Run(Tools.Gcc, "-print-file-name=libasan.so").Output.Trim();
        string module = Tools.BuildModule("-g -fsanitize=address -fno-omit-frame-pointer");
        Assert.Contains("__asan_report_load", File.ReadAllText(module, System.Text.Encoding.Latin1),
            StringComparison.Ordinal);
        // httpd and PHP keep what they have until they end: only errors count, not leaks.
        using var apache = new ApacheServer(stack, module: module, extra:
            "ErrorDocument 403 /plain.txt\nSocketHandoffDataPrefix {_root}/sessions", environment:
            ["LD_PRELOAD=" + library, "ASAN_OPTIONS=detect_leaks=0:halt_on_error=1:exitcode=99",
                // No extensions: PHP loads them with RTLD_DEEPBIND, and AddressSanitizer ends the process then.
                "PHP_INI_SCAN_DIR=/nonexistent"]);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        // The one directory that httpd's user may write to.
        string data = apache.Root + "/sessions";
        foreach (string name in new[] { "short", "long", "status", "both" })
            File.WriteAllText($"{data}/{name}", $$"""{"prompt":"{{new string('x', name == "long" ? 300_000 : 1)}}"}""");
        foreach (string more in new[]
        {
            "&data={}", "&bytes=8000", "&bytes=200000&line=8000", "&bytes=212961&line=8000",
            "&part[1]=a&part[3]=c", "&part[9999]=a", "&part[1]=a&part[x]=b", "&data=a&part[1]=b",
            "&data={%22prompt%22:%22x%22}&status=403", "&data=", "&data={%22prompt%22:%22x%22}&flush=1",
            "&data={}&header[]=X-A:%201&header[]=X-A:%20%e9&header[]=Set-Cookie:%20a=%22%09%22",
            "&data={%22response_headers%22:{%22Set-Cookie%22:[],%22X-A%22:%22&header[]=Set-Cookie:%20a",
            "&data={%22response_headers%22:{%22Set-Cookie%22:%22b%22}}&header[]=Set-Cookie:%20a",
            "&bytes=5000000&line=8000", "&file={data}/short", "&file={data}/long&header[]=X-A:%201",
            "&file={data}/none", "&file={data}/../short", "&file={data}", "&file=", "&file={data}/a//b/",
            "&file={data}/status&status=403", "&data={}&file={data}/both",
            "&data={%22%5c&header[]=X-A:%201", "&data={&header[]=X-A:%201", "&data=%22&header[]=X-A:%201",
        })
        {
            string url = apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket, data: null,
                more.Replace("{data}", data, StringComparison.Ordinal)));
            Assert.StartsWith("HTTP/1.1 ", Curl.Run("-g", "-i", url), StringComparison.Ordinal);
        }
        Assert.Equal(403, Curl.Status(apache.Url(ApacheServer.HandoffPath("/tmp/none.sock"))));
        string none = apache.Url(ApacheServer.HandoffPath(apache.SocketDirectory + "/none.sock"));
        foreach (string accept in new[] { "*/*", "application/json;q=0.", "text/event-stream", ",;,", "" })
            Assert.Equal(503, Curl.Status("-H", "Accept: " + accept, none));
        // Before the stop: then the event MPM (2.4.71, close_worker_sockets) shuts down the sockets of its workers, and that of a
        // connection which has just ended may be freed. A child may be lost to that with any module, or none. To see the
        // stack of a crash, add handle_segv=2: otherwise httpd's own handler takes the place of AddressSanitizer's.
        Assert.DoesNotContain("exit signal", apache.Log, StringComparison.Ordinal);
        apache.Stop();

        Assert.Contains("client handed to", apache.Log, StringComparison.Ordinal);
        // Those that were handed over, and those that were refused.
        Assert.All(["short", "long", "status", "both"], name => Assert.False(File.Exists($"{data}/{name}")));
        Assert.DoesNotContain("AddressSanitizer", apache.Log, StringComparison.Ordinal);
    }
}
