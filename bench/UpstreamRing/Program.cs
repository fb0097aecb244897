using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Security;
using System.Net.Sockets;
using StreamingDaemon.UpstreamRing;

// The upstream's connections on .NET's epoll, and on our own io_uring, in turns: what a token costs this
// process until it reaches the reader, with the same HTTP client and TLS above.
if (args.Length != 5)
{
    Console.Error.WriteLine("usage: upstream-ring MOCK_LLM STREAMS CHUNKS DELAY_MS ROUNDS");
    return 2;
}

var (streams, chunks, delayMs, rounds) =
    (Number(args[1]), Number(args[2]), Number(args[3]), Number(args[4]));
const int Port = 9553;
using var upstream = Process.Start(args[0], $"--port {Port} --tls --chunks {chunks} --delay-ms {delayMs}");
try
{
    var loop = new UpstreamLoop();
    var ways = new (string Name, Func<Socket, Stream> Wrap)[]
    {
        ("epoll", socket => new NetworkStream(socket, ownsSocket: true)),
        ("ring, continued on the pool", socket => new RingStream(socket, loop, completesOnLoop: false)),
        ("ring, continued on its thread", socket => new RingStream(socket, loop, completesOnLoop: true)),
    };
    foreach (var (_, wrap) in ways)
        await RunAsync(wrap, 50, 5_000);
    var costs = ways.Select(_ => new List<double>()).ToArray();
    for (var round = 0; round < rounds; round++)
    {
        for (var way = 0; way < ways.Length; way++)
            costs[way].Add(await RunAsync(ways[way].Wrap, streams, 1_000));
    }

    for (var way = 0; way < ways.Length; way++)
    {
        var ratio = Median(costs[way].Zip(costs[0], (a, b) => a / b));
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{ways[way].Name,-40}{Median(costs[way]),8:0.0} us a token{ratio,8:0.00}"));
    }

    return 0;
}
finally
{
    upstream.Kill();
}

static int Number(string text) => int.Parse(text, CultureInfo.InvariantCulture);

static double Median(IEnumerable<double> values)
{
    var sorted = values.Order().ToArray();
    return sorted[sorted.Length / 2];
}

// CPU of this process in microseconds per token, without the beginning of the streams.
async Task<double> RunAsync(Func<Socket, Stream> wrap, int count, int beginMs)
{
    using var handler = new SocketsHttpHandler
    {
        EnableMultipleHttp2Connections = true,
        SslOptions = new SslClientAuthenticationOptions
        {
            RemoteCertificateValidationCallback = static (_, _, _, _) => true,
        },
        ConnectCallback = async (_, token) =>
        {
            var socket = new Socket(SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            for (var attempt = 0; ; attempt++)
            {
                try
                {
                    await socket.ConnectAsync(IPAddress.Loopback, Port, token);
                    return wrap(socket);
                }
                catch (SocketException) when (attempt < 100)
                {
                    await Task.Delay(50, token);
                }
            }
        },
    };
    using var client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
    var sink = new CountingStream();
    var all = Enumerable.Range(0, count).Select(_ => StreamAsync(client, sink)).ToArray();
    using var own = Process.GetCurrentProcess();
    await Task.Delay(Math.Min(beginMs, delayMs * chunks / 3));
    own.Refresh();
    var (cpuBefore, writesBefore) = (own.TotalProcessorTime, sink.Writes);
    await Task.Delay(delayMs * chunks / 2);
    own.Refresh();
    var (cpuAfter, writesAfter) = (own.TotalProcessorTime, sink.Writes);
    await Task.WhenAll(all);
    return (cpuAfter - cpuBefore).TotalMicroseconds / Math.Max(1, writesAfter - writesBefore);
}

static async Task StreamAsync(HttpClient client, Stream sink)
{
    var uri = new Uri($"https://127.0.0.1:{Port}/v1/chat/completions");
    using var request = new HttpRequestMessage(HttpMethod.Post, uri)
    {
        Version = HttpVersion.Version20,
        Content = new StringContent("{\"stream\":true,\"messages\":[]}"),
    };
    using var response = await client.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
    var body = await response.Content.ReadAsStreamAsync();
    await body.CopyToAsync(sink, 512);
}
