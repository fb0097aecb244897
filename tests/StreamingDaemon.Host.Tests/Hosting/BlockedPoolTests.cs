using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Hosting;

/// <summary>A thread pool of which every thread blocks, as with backends that do.</summary>
public sealed class BlockedPoolTests
{
    [Fact]
    public async Task Probe_and_scrape_are_answered_although_every_thread_of_the_pool_blocks()
    {
        using var directory = new TempDirectory();
        var defaults = new DaemonOptions();
        var options = defaults with
        {
            Server = defaults.Server with { Socket = directory.File("s") },
            Monitoring = defaults.Monitoring with { MetricsPort = DaemonProcess.FreePort() },
            Logging = defaults.Logging with { Level = "error" },
        };
        using var daemon = new DaemonRun(options, () => options);
        await daemon.StartAsync(CancellationToken.None);
        using var release = new ManualResetEventSlim();
        for (var i = 0; i < 2_000; i++)
            ThreadPool.UnsafeQueueUserWorkItem(_ => release.Wait(), null);

        // On this thread, which waits for nobody but the daemon.
        var answers = ((string[])["/health/live", "/health/ready", "/health", "/metrics"])
            .Select(path => Ask(options.Monitoring.MetricsPort, path)).ToList();
        var waiting = ThreadPool.PendingWorkItemCount;
        release.Set();

        Assert.All(answers, answer => Assert.StartsWith("HTTP/1.1 200 OK", answer, StringComparison.Ordinal));
        Assert.True(waiting > 0, "the pool had a free thread");
        daemon.Drain.Begin();
        Assert.Equal(0, await daemon.WaitAsync(CancellationToken.None).WaitAsync(Clients.Patience));
    }

    private static string Ask(int port, string path)
    {
        using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp)
        { ReceiveTimeout = 1_000 };
        socket.Connect(IPAddress.Loopback, port);
        socket.Send(Encoding.ASCII.GetBytes($"GET {path} HTTP/1.0\r\n\r\n"));
        var buffer = new byte[4096];
        return Encoding.ASCII.GetString(buffer, 0, socket.Receive(buffer));
    }
}
