using System.Buffers;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Host.Demo;

/// <summary>Reads the daemon's answer from the client's end of a connection, line by line as it
/// comes.</summary>
internal sealed class AnswerReader(Socket socket)
{
    private readonly byte[] _buffer = new byte[16 * 1024];
    private readonly ArrayBufferWriter<byte> _line = new();
    private int _start;
    private int _end;

    /// <summary>The next line without its line end, or null at the end of the stream.</summary>
    public async Task<string?> ReadLineAsync(CancellationToken cancellationToken)
    {
        _line.ResetWrittenCount();
        while (true)
        {
            var available = _buffer.AsMemory(_start, _end - _start);
            var newline = available.Span.IndexOf((byte)'\n');
            _line.Write(available.Span[..(newline < 0 ? available.Length : newline)]);
            if (newline >= 0)
            {
                _start += newline + 1;
                return Text();
            }

            _start = 0;
            _end = await socket.ReceiveAsync(_buffer, cancellationToken);
            if (_end == 0)
                return _line.WrittenCount == 0 ? null : Text();
        }
    }

    /// <summary>Reads the response head.</summary>
    /// <returns>The status, or 0 where what came is no HTTP response.</returns>
    public async Task<int> ReadHeadAsync(CancellationToken cancellationToken)
    {
        var status = 0;
        while (await ReadLineAsync(cancellationToken) is { Length: > 0 } line)
        {
            if (status == 0 && (!line.StartsWith("HTTP/1.", StringComparison.Ordinal)
                || !int.TryParse(line.AsSpan(9, Math.Min(3, Math.Max(0, line.Length - 9))), out status)))
                return 0;
        }

        return status;
    }

    private string Text() => Encoding.UTF8.GetString(_line.WrittenSpan).TrimEnd('\r');
}
