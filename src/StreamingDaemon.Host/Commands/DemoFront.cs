using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Reflection;
using System.Text;
using StreamingDaemon.Uring;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Host.Commands;

/// <summary>
/// Plays Apache with PHP on loopback: serves the chat page, and hands the socket of a request for
/// <c>/stream.php</c> over to the daemon, with a POST's body as handoff data. For a first try only: it
/// authenticates nobody.
/// </summary>
internal sealed class DemoFront : IAsyncDisposable
{
    private const int MaxHeadBytes = 16 * 1024;
    private const int MaxBodyBytes = 200 * 1024;
    private const string Json = "application/json";

    /// <summary>Timeout of reading a request, sending an answer, and the handoff to the daemon.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(10);

    /// <summary>Limits the connections at once; more wait in the kernel's accept queue.</summary>
    private readonly SemaphoreSlim _places = new(256);

    private readonly Socket _listener;
    private readonly string _socketPath;
    private readonly byte[] _page = ReadPage();

    private DemoFront(Socket listener, string socketPath)
    {
        _listener = listener;
        _socketPath = socketPath;
    }

    public string Url => $"http://{_listener.LocalEndPoint}/";

    /// <summary>Listens on 127.0.0.1; port 0 takes any free port.</summary>
    /// <exception cref="IOException">The port is in use.</exception>
    public static DemoFront Listen(int port, string socketPath)
    {
        var listener = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        try
        {
            listener.Bind(new IPEndPoint(IPAddress.Loopback, port));
            listener.Listen();
            return new DemoFront(listener, socketPath);
        }
        catch (SocketException e)
        {
            listener.Dispose();
            throw new IOException($"127.0.0.1:{port}: {e.Message}. Choose another port with --port", e);
        }
    }

    /// <summary>Serves until <paramref name="end"/> completes.</summary>
    public async Task ServeAsync(Task end)
    {
        _ = end.ContinueWith(_ => _listener.Dispose(), TaskScheduler.Default);
        while (!end.IsCompleted)
        {
            Socket browser;
            await _places.WaitAsync(CancellationToken.None);
            try
            {
                browser = await _listener.AcceptAsync();
            }
            catch (Exception e) when (e is SocketException or ObjectDisposedException)
            {
                _places.Release();
                // The listener was closed because of the end, or a browser left before the accept.
                if (_listener.SafeHandle.IsClosed)
                    return;
                await Task.Delay(10, CancellationToken.None);
                continue;
            }

            _ = ServeOneAsync(browser);
        }
    }

    public ValueTask DisposeAsync()
    {
        _listener.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task ServeOneAsync(Socket browser)
    {
        using (browser)
        {
            try
            {
                using var timeout = new CancellationTokenSource(s_patience);
                var request = await DemoRequest.ReadAsync(browser, MaxHeadBytes, MaxBodyBytes, timeout.Token);
                switch (request)
                {
                    case null:
                        await AnswerAsync(browser, "400 Bad Request", Json,
                            Error("bad_request", "The request is malformed."));
                        break;
                    case { Method: "GET", Path: "/" or "/index.html" }:
                        await AnswerAsync(browser, "200 OK", "text/html; charset=utf-8", _page);
                        break;
                    case { Path: "/stream.php" } when request.HandoffData() is { } data:
                        // The daemon has the connection now. Ours is only a copy; close it without an answer.
                        HandoffClient.Send(_socketPath, (int)browser.Handle, data, s_patience);
                        break;
                    default:
                        await AnswerAsync(browser, "404 Not Found", Json,
                            Error("not_found", "There is only the page and /stream.php."));
                        break;
                }
            }
            catch (HandoffServerException)
            {
                await AnswerAsync(browser, "503 Service Unavailable", Json,
                    Error("daemon_unavailable", "The daemon is unavailable."));
            }
            catch (Exception e) when (e is SocketException or OperationCanceledException)
            {
                // The browser left, or sent no request in time.
            }
            finally
            {
                _places.Release();
            }
        }
    }

    private static async Task AnswerAsync(Socket browser, string status, string contentType, byte[] body)
    {
        var head = string.Create(CultureInfo.InvariantCulture,
            $"HTTP/1.1 {status}\r\nContent-Type: {contentType}\r\nContent-Length: {body.Length}\r\n"
            + $"Connection: close\r\n\r\n");
        using var timeout = new CancellationTokenSource(s_patience);
        await browser.SendAsync(Encoding.ASCII.GetBytes(head), timeout.Token);
        await browser.SendAsync(body, timeout.Token);
        browser.Shutdown(SocketShutdown.Send);
    }

    /// <summary>In the shape of the daemon's own errors.</summary>
    private static byte[] Error(string code, string message) => Encoding.ASCII.GetBytes(
        $"{{\"error\":{{\"code\":\"{code}\",\"message\":\"{message}\"}}}}\n");

    private static byte[] ReadPage()
    {
        using var stream = Assembly.GetExecutingAssembly().GetManifestResourceStream("chat.html")
            ?? throw new InvalidOperationException("the chat page was not built in");
        using var page = new MemoryStream();
        stream.CopyTo(page);
        return page.ToArray();
    }
}
