using System.Diagnostics;
using System.Net;
using System.Net.Http;
using System.Net.Sockets;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

public sealed class HealthTests
{
    [Fact]
    public async Task Probes_may_ask_with_head_and_nothing_else_than_the_known_paths_is_served()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var http = new HttpClient { BaseAddress = daemon.MetricsUri };

        foreach (var path in (string[])["/health", "/healthz", "/health/live", "/health/ready"])
        {
            using var head = await http.SendAsync(new HttpRequestMessage(HttpMethod.Head, path));
            Assert.Equal(HttpStatusCode.OK, head.StatusCode);
            Assert.Equal("no-store", head.Headers.CacheControl!.ToString());
            Assert.Empty(await head.Content.ReadAsByteArrayAsync());
        }

        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/metrics/../etc/passwd")).StatusCode);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await http.PostAsync("/health", null)).StatusCode);
    }

    [Fact]
    public async Task Daemon_that_starts_is_alive_and_not_ready()
    {
        using var directory = new TempDirectory();
        var socket = directory.File("s");
        var port = DaemonProcess.FreePort();
        // The start waits for this lock, but HTTP is already up.
        var held = new FileStream(socket + ".lock", FileMode.Create, FileAccess.ReadWrite, FileShare.None);
        using var process = Process.Start(DaemonProcess.StartInfo(null, directory.Path,
            ["--socket", socket, "--metrics", $"{port}"]))!;
        using var http = new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{port}") };
        try
        {
            HttpResponseMessage? ready = null;
            await Eventually.TrueAsync(() => (ready = Ask(http, "/health/ready")) is not null);
            Assert.Equal(HttpStatusCode.ServiceUnavailable, ready!.StatusCode);
            Assert.Contains("starting", await ready.Content.ReadAsStringAsync(), StringComparison.Ordinal);
            Assert.Equal(HttpStatusCode.OK, Ask(http, "/health/live")!.StatusCode);

            await held.DisposeAsync();

            await Eventually.TrueAsync(() => Ask(http, "/health/ready")!.StatusCode == HttpStatusCode.OK);
        }
        finally
        {
            process.Kill();
            await process.WaitForExitAsync();
        }
    }

    [Fact]
    public async Task Probe_gets_in_however_many_connections_say_nothing()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        var silent = new List<Socket>();
        try
        {
            for (var i = 0; i < 300; i++)
            {
                silent.Add(new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp));
                await silent[^1].ConnectAsync(IPAddress.Loopback, daemon.MetricsPort);
            }

            using var http = new HttpClient { BaseAddress = daemon.MetricsUri };
            Assert.Equal(HttpStatusCode.OK, (await http.GetAsync("/health")).StatusCode);
            // Some silent connections are still open, so the probe did not just wait until all were closed.
            Assert.Contains(silent, socket => !socket.Poll(0, SelectMode.SelectRead));
        }
        finally
        {
            silent.ForEach(socket => socket.Dispose());
        }
    }

    private static HttpResponseMessage? Ask(HttpClient http, string path)
    {
        try
        {
            return http.Send(new HttpRequestMessage(HttpMethod.Get, path));
        }
        catch (HttpRequestException)
        {
            return null;
        }
    }
}
