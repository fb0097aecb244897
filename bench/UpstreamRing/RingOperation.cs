using System.Buffers;
using System.Threading.Tasks.Sources;

namespace StreamingDaemon.UpstreamRing;

/// <summary>One direction of a socket: one receive or send at a time, awaited without its own
/// object.</summary>
internal sealed class RingOperation : IValueTaskSource<int>
{
    private readonly UpstreamLoop _loop;
    private ManualResetValueTaskSourceCore<int> _core;
    private MemoryHandle _pin;

    public RingOperation(UpstreamLoop loop, int fd, byte opcode, bool completesOnLoop)
    {
        _loop = loop;
        Fd = fd;
        Opcode = opcode;
        _core.RunContinuationsAsynchronously = !completesOnLoop;
        Index = loop.Register(this);
    }

    public int Fd { get; }

    public byte Opcode { get; }

    public int Index { get; }

    public unsafe byte* Address => (byte*)_pin.Pointer;

    public int Length { get; private set; }

    /// <returns>Bytes, or a negative errno.</returns>
    public ValueTask<int> RunAsync(ReadOnlyMemory<byte> memory)
    {
        _core.Reset();
        _pin = memory.Pin();
        Length = memory.Length;
        _loop.Post(this);
        return new ValueTask<int>(this, _core.Version);
    }

    public void Complete(int result)
    {
        _pin.Dispose();
        _core.SetResult(result);
    }

    int IValueTaskSource<int>.GetResult(short token) => _core.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<int>.GetStatus(short token) => _core.GetStatus(token);

    void IValueTaskSource<int>.OnCompleted(Action<object?> continuation, object? state, short token,
        ValueTaskSourceOnCompletedFlags flags) => _core.OnCompleted(continuation, state, token, flags);
}
