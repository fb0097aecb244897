using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Receivers of deliveries that answer in no way that HTTP knows.</summary>
public sealed class DeliveryHostileReceiverTests : IDisposable
{
    private const string Taken = "HTTP/1.1 204 No Content\r\n\r\n";

    private readonly TcpListener _listener = new(IPAddress.Loopback, 0);
    private readonly ConcurrentQueue<string> _ids = new();
    private readonly DeliverySite _site;
    private Func<Stream, Task> _fault = _ => Task.CompletedTask;
    private int _faults;

    public DeliveryHostileReceiverTests()
    {
        _listener.Start();
        _site = new DeliverySite(new Uri($"http://127.0.0.1:{((IPEndPoint)_listener.LocalEndpoint).Port}/deliver"));
        _ = AcceptAsync();
    }

    public void Dispose()
    {
        _listener.Dispose();
        _site.Dispose();
    }

    [Theory]
    [InlineData("closes at once")]
    [InlineData("closes in its status line")]
    [InlineData("closes in its head")]
    [InlineData("is no HTTP")]
    [InlineData("sends 1xx without end")]
    [InlineData("sends header lines without end")]
    [InlineData("says nothing")]
    [InlineData("redirects")]
    [InlineData("switches protocols")]
    public async Task Receiver_that_gives_no_verdict_gets_the_delivery_again(string fault)
    {
        (_fault, _faults) = (FaultOf(fault), 2);
        await using var daemon = await StartAsync();

        Assert.True((await daemon.AskAsync("""{"prompt":"hi","user_id":7}""")).IsDone);

        await Eventually.TrueAsync(() => _site.Pending.Count == 0, TimeSpan.FromSeconds(60));
        Assert.Empty(_site.Dead);
        Assert.Equal(0, Volatile.Read(ref _faults));
        Assert.InRange(_ids.Count, 1, 3);
        Assert.Single(_ids.Distinct());
    }

    [Theory]
    [InlineData("has its verdict behind 1xx")]
    [InlineData("sends a body without end")]
    [InlineData("sends a body a byte at a time")]
    [InlineData("closes in its body")]
    public async Task Verdict_counts_whatever_comes_before_and_after_it(string fault)
    {
        (_fault, _faults) = (FaultOf(fault), 2);
        await using var daemon = await StartAsync();

        await daemon.AskAsync("""{"prompt":"hi","user_id":7}""");
        await daemon.AskAsync("""{"prompt":"hi","user_id":7}""");
        await daemon.AskAsync("""{"prompt":"hi","user_id":7}""");

        await Eventually.TrueAsync(() => _site.Pending.Count == 0);
        Assert.Equal(3, _ids.Count);
        Assert.Equal(3, _ids.Distinct().Count());
        Assert.Equal(3, (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_total{result=\"delivered\"}"]);
    }

    [Fact]
    public async Task Receiver_of_http_1_0_gets_each_delivery_at_its_first_attempt()
    {
        (_fault, _faults) = (stream => SayAsync(stream, "HTTP/1.0 204 No Content\r\n\r\n"), int.MaxValue);
        // A busy machine may answer late: the time limit is as shipped.
        await using var daemon = await _site.StartAsync("--delay", "0");

        // One user's are sent one after the other.
        for (var i = 0; i < 40; i++)
            await daemon.AskAsync("""{"prompt":"hi","user_id":7}""");

        await Eventually.TrueAsync(() => _site.Pending.Count == 0, TimeSpan.FromSeconds(60));
        Assert.Equal(40, _ids.Count);
        Assert.Equal(0, (await daemon.MetricValuesAsync())["streaming_daemon_delivery_failures_total"]);
    }

    private Task<DaemonProcess> StartAsync() => _site.StartAsync(
        new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__TIMEOUT_MS"] = "1000" }, "--delay", "0");

    private static Func<Stream, Task> FaultOf(string fault) => fault switch
    {
        "closes at once" => _ => Task.CompletedTask,
        "closes in its status line" => stream => SayAsync(stream, "HTTP/1.1 2"),
        "closes in its head" => stream => SayAsync(stream, "HTTP/1.1 204 No Content\r\nX-A: b"),
        "is no HTTP" => stream => SayAsync(stream, "SSH-2.0-OpenSSH_9.9\r\n\r\n"),
        "sends 1xx without end" => stream => SayWithoutEndAsync(stream, "", "HTTP/1.1 102 Processing\r\n\r\n"),
        "sends header lines without end" => stream => SayWithoutEndAsync(stream, "HTTP/1.1 204 No Content\r\n", "X-A: b\r\n"),
        "says nothing" => _ => Task.Delay(TimeSpan.FromSeconds(5)),
        "redirects" => stream => SayAsync(stream,
            "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://127.0.0.1:9/other\r\nContent-Length: 0\r\n\r\n"),
        "switches protocols" => stream => SayAsync(stream,
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"),
        "has its verdict behind 1xx" => stream => SayAsync(stream,
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + Taken),
        "sends a body without end" => stream => SayWithoutEndAsync(
            stream, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", new string('x', 64 * 1024)),
        "sends a body a byte at a time" => stream => DripAsync(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
        "closes in its body" => stream => SayAsync(stream, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nx"),
        _ => throw new ArgumentOutOfRangeException(nameof(fault), fault, null),
    };

    private static Task SayAsync(Stream stream, string text) => stream.WriteAsync(Encoding.ASCII.GetBytes(text)).AsTask();

    private static async Task SayWithoutEndAsync(Stream stream, string first, string more)
    {
        await SayAsync(stream, first);
        while (true)
            await SayAsync(stream, more);
    }

    private static async Task DripAsync(Stream stream, string first)
    {
        await SayAsync(stream, first);
        for (var i = 0; i < 100; i++)
        {
            await SayAsync(stream, "x");
            await Task.Delay(50);
        }
    }

    private async Task AcceptAsync()
    {
        try
        {
            while (true)
            {
                var client = await _listener.AcceptTcpClientAsync();
                _ = ServeAsync(client);
            }
        }
        catch (Exception e) when (e is SocketException or InvalidOperationException)
        {
            // The test is over.
        }
    }

    private async Task ServeAsync(TcpClient client)
    {
        using var connection = client;
        try
        {
            var stream = client.GetStream();
            while (await ReadRequestAsync(stream) is { } id)
            {
                _ids.Enqueue(id);
                if (Interlocked.Decrement(ref _faults) >= 0)
                {
                    await _fault(stream);
                    return;
                }

                Volatile.Write(ref _faults, 0);
                await SayAsync(stream, Taken);
            }
        }
        catch (IOException)
        {
            // The daemon has closed the connection.
        }
    }

    /// <returns>Its webhook-id; null at the end of the connection.</returns>
    private static async Task<string?> ReadRequestAsync(Stream stream)
    {
        var text = new StringBuilder();
        var buffer = new byte[16 * 1024];
        while (true)
        {
            var read = await stream.ReadAsync(buffer);
            if (read == 0)
                return null;
            text.Append(Encoding.Latin1.GetString(buffer, 0, read));
            var all = text.ToString();
            var head = all.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            if (head >= 0 && all.Length - head - 4 >= int.Parse(Header(all, "Content-Length")))
                return Header(all, "webhook-id");
        }
    }

    private static string Header(string request, string name) =>
        request.Split($"\r\n{name}: ", 2)[1].Split("\r\n", 2)[0];
}
