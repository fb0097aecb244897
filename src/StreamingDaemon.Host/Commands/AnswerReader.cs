using System.Buffers;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Host.Commands;

/// <summary>Reads the daemon's answer on the client's side, line by line as it arrives. The peer may be any
/// server, so the head, each line and the whole answer have a limit.</summary>
internal sealed class AnswerReader(Socket socket)
{
    /// <summary>The largest head: <c>response_headers</c> may add 16 KiB.</summary>
    private const int MaxHeadBytes = 64 * 1024;

    /// <summary>The longest line. An event is one line; by default it holds at most 1 MiB of text.</summary>
    private const int MaxLineBytes = 16 * 1024 * 1024;

    /// <summary>The longest answer.</summary>
    private const long MaxBytes = 256 * 1024 * 1024;

    private readonly byte[] _buffer = new byte[16 * 1024];
    private readonly ArrayBufferWriter<byte> _line = new();
    private int _start;
    private int _end;
    private long _received;

    /// <summary>Reads the next line, without its line end.</summary>
    /// <returns>Null at the end of the stream.</returns>
    /// <exception cref="IOException">The line is too long, or the connection broke.</exception>
    public Task<string?> ReadLineAsync(CancellationToken cancellationToken) =>
        ReadLineAsync(MaxLineBytes, cancellationToken);

    private async Task<string?> ReadLineAsync(int most, CancellationToken cancellationToken)
    {
        _line.ResetWrittenCount();
        while (true)
        {
            var available = _buffer.AsMemory(_start, _end - _start);
            var newline = available.Span.IndexOf((byte)'\n');
            var length = newline < 0 ? available.Length : newline;
            if (_line.WrittenCount + length > most)
                throw new IOException($"the answer has a line of more than {most} bytes");
            _line.Write(available.Span[..length]);
            if (newline >= 0)
            {
                _start += newline + 1;
                return Text();
            }

            _start = 0;
            _end = await ReceiveAsync(cancellationToken);
            if (_end == 0)
                return _line.WrittenCount == 0 ? null : Text();
        }
    }

    private async Task<int> ReceiveAsync(CancellationToken cancellationToken)
    {
        try
        {
            var count = await socket.ReceiveAsync(_buffer, cancellationToken);
            _received += count;
            return _received <= MaxBytes ? count
                : throw new IOException($"the answer has more than {MaxBytes} bytes");
        }
        catch (SocketException e)
        {
            throw new IOException($"the connection broke before the end of the answer: {e.Message}", e);
        }
    }

    /// <summary>Reads the response head.</summary>
    /// <returns>The HTTP status.</returns>
    /// <exception cref="IOException">There was no answer, or it is not HTTP.</exception>
    public async Task<int> ReadHeadAsync(CancellationToken cancellationToken)
    {
        var rest = MaxHeadBytes;
        var first = await ReadLineAsync(rest, cancellationToken)
            ?? throw new IOException("the daemon closed the connection without an answer");
        if (!first.StartsWith("HTTP/1.", StringComparison.Ordinal) || first.Length < 12
            || !int.TryParse(first.AsSpan(9, 3), out var status))
        {
            throw new IOException("the peer is not a daemon: it sent no HTTP response");
        }

        for (var line = first; line.Length > 0;)
        {
            rest -= _line.WrittenCount + 1;
            line = rest <= 0
                ? throw new IOException($"the answer's head has more than {MaxHeadBytes} bytes")
                : await ReadLineAsync(rest, cancellationToken) ?? "";
        }

        return status;
    }

    private string Text() => Encoding.UTF8.GetString(_line.WrittenSpan).TrimEnd('\r');
}
