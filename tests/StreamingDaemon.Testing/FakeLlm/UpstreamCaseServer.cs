using System.Globalization;
using System.Net.Sockets;
using System.Text;
using Microsoft.Extensions.Primitives;

namespace StreamingDaemon.Testing;

/// <summary>Plays <see cref="UpstreamCase"/>s over HTTP/1.1, byte for byte. A request chooses its case by the
/// header <c>X-Test-Pattern</c>.</summary>
public sealed class UpstreamCaseServer : LoopbackServer
{
    /// <summary>The API base for a client.</summary>
    public Uri BaseAddress => new($"http://127.0.0.1:{Port}/v1");

    /// <summary>The last request's head.</summary>
    public string LastHead { get; private set; } = "";

    /// <summary>A scenario that plays the cases over HTTP/2.</summary>
    public static async Task PlayAsync(FakeLlmExchange exchange)
    {
        var one = UpstreamCase.Named(exchange.Request.Headers["X-Test-Pattern"]);
        var response = exchange.Context.Response;
        response.StatusCode = int.Parse(one.Head[0].Split(' ')[1], CultureInfo.InvariantCulture);
        foreach (var line in one.Head.Skip(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            var name = line[..colon];
            // HTTP/1.1's own (RFC 9113, section 8.2.2).
            if (name is not ("Connection" or "Transfer-Encoding" or "Keep-Alive"))
                response.Headers[name] = StringValues.Concat(response.Headers[name], line[(colon + 1)..].Trim());
        }

        await response.StartAsync();
        foreach (var (bytes, pauseMs) in one.Pieces)
        {
            if (bytes.Length > 0)
                await exchange.SendRawAsync(bytes);
            await Task.Delay(pauseMs);
        }

        if (one.End is UpstreamCaseEnd.Cut or UpstreamCaseEnd.Reset)
            exchange.Reset();
        else if (one.End == UpstreamCaseEnd.Hold)
            await exchange.WaitForAbortAsync(TimeSpan.FromSeconds(30));
    }

    /// <inheritdoc/>
    protected override async Task ServeAsync(Socket socket, NetworkStream stream)
    {
        if (await ReadRequestAsync(stream) is not { } name)
            return;
        var one = UpstreamCase.Named(name);
        await PlayAsync(one, stream);
        if (one.End == UpstreamCaseEnd.Reset)
        {
            socket.LingerState = new LingerOption(true, 0);
            socket.Dispose();
            return;
        }

        if (one.End != UpstreamCaseEnd.Hold)
            socket.Shutdown(SocketShutdown.Send);
        // Until the client closes: closing first, with unread data, would reset the connection.
        while (await stream.ReadAsync(new byte[4096], Stopping) > 0)
        {
        }
    }

    private async Task PlayAsync(UpstreamCase one, NetworkStream stream)
    {
        var isChunked = !one.IsFramed
            && one.Head.Any(line => line.EndsWith(": chunked", StringComparison.OrdinalIgnoreCase));
        if (one.Interim.Count > 0)
            await stream.WriteAsync(Encoding.ASCII.GetBytes(string.Join("\r\n", one.Interim) + "\r\n\r\n"), Stopping);
        await stream.WriteAsync(Encoding.ASCII.GetBytes(string.Join("\r\n", one.Head) + "\r\n\r\n"), Stopping);
        foreach (var (bytes, pauseMs) in one.Pieces)
        {
            if (bytes.Length > 0 && isChunked)
                await stream.WriteAsync(Encoding.ASCII.GetBytes($"{bytes.Length:x}\r\n"), Stopping);
            await stream.WriteAsync(bytes, Stopping);
            if (bytes.Length > 0 && isChunked)
                await stream.WriteAsync("\r\n"u8.ToArray(), Stopping);
            await Task.Delay(pauseMs, Stopping);
        }

        if (isChunked && one.End == UpstreamCaseEnd.Fin)
            await stream.WriteAsync("0\r\n\r\n"u8.ToArray(), Stopping);
    }

    /// <returns>The name of the case, or null if the client left.</returns>
    private async Task<string?> ReadRequestAsync(NetworkStream stream)
    {
        var bytes = new List<byte>();
        var buffer = new byte[4096];
        while (true)
        {
            var count = await stream.ReadAsync(buffer, Stopping);
            if (count == 0)
                return null;
            bytes.AddRange(buffer.AsSpan(0, count));
            var text = Encoding.Latin1.GetString([.. bytes]);
            var end = text.IndexOf("\r\n\r\n", StringComparison.Ordinal);
            if (end < 0)
                continue;
            var head = text[..end];
            var length = Header(head, "Content-Length");
            var isWhole = length is null
                ? text.EndsWith("0\r\n\r\n", StringComparison.Ordinal)
                : bytes.Count >= end + 4 + int.Parse(length, CultureInfo.InvariantCulture);
            if (!isWhole)
                continue;
            LastHead = head;
            return Header(head, "X-Test-Pattern");
        }
    }

    private static string? Header(string head, string name) => head.Split("\r\n")
        .Where(line => line.StartsWith(name + ":", StringComparison.OrdinalIgnoreCase))
        .Select(line => line[(name.Length + 1)..].Trim()).FirstOrDefault();
}
