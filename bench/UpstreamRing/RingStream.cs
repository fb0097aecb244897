using System.Net.Sockets;
using static StreamingDaemon.Uring.Interop.IoUringConstants;

namespace StreamingDaemon.UpstreamRing;

/// <summary>A connected socket whose bytes an <see cref="UpstreamLoop"/> carries; the HTTP client puts TLS
/// and HTTP/2 on it.</summary>
internal sealed class RingStream(Socket socket, UpstreamLoop loop, bool completesOnLoop) : Stream
{
    private readonly RingOperation _receive = new(loop, (int)socket.Handle, OpRecv, completesOnLoop);
    private readonly RingOperation _send = new(loop, (int)socket.Handle, OpSend, completesOnLoop);

    public override bool CanRead => true;

    public override bool CanSeek => false;

    public override bool CanWrite => true;

    public override long Length => throw new NotSupportedException();

    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    // TLS and HTTP/2 ask with an empty buffer first, to rent one only when bytes have come. Here the receive
    // after that does the waiting.
    public override ValueTask<int> ReadAsync(
        Memory<byte> buffer, CancellationToken cancellationToken = default) =>
        buffer.IsEmpty ? new ValueTask<int>(0) : ReceiveAsync(buffer);

    public override async ValueTask WriteAsync(
        ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default)
    {
        while (!buffer.IsEmpty)
            buffer = buffer[Check(await _send.RunAsync(buffer))..];
    }

    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    public override void SetLength(long value) => throw new NotSupportedException();

    public override void Flush()
    {
    }

    protected override void Dispose(bool disposing)
    {
        // Operations in flight end first: closing does not cancel them.
        if (disposing && socket.Connected)
            socket.Shutdown(SocketShutdown.Both);
        base.Dispose(disposing);
    }

    private async ValueTask<int> ReceiveAsync(Memory<byte> buffer) => Check(await _receive.RunAsync(buffer));

    private static int Check(int result) =>
        result >= 0 ? result : throw new IOException($"the ring answered {result}");
}
