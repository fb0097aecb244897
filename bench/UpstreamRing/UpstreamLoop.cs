using System.Collections.Concurrent;
using System.Diagnostics.CodeAnalysis;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using static StreamingDaemon.Uring.Interop.IoUringConstants;

namespace StreamingDaemon.UpstreamRing;

/// <summary>A thread with an io_uring that receives and sends for the upstream's connections.</summary>
[SuppressMessage("Design", "CA1001", Justification = "It lives as long as the process.")]
internal sealed unsafe class UpstreamLoop
{
    private readonly ConcurrentQueue<RingOperation> _posted = new();
    private readonly List<RingOperation> _operations = [];
    private readonly EventFd _wakeEvent = new();
    private int _sleeping;

    public UpstreamLoop() => new Thread(Run) { IsBackground = true, Name = "upstream ring" }.Start();

    public int Register(RingOperation operation)
    {
        lock (_operations)
        {
            _operations.Add(operation);
            return _operations.Count;
        }
    }

    public void Post(RingOperation operation)
    {
        _posted.Enqueue(operation);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref _sleeping) == 1 && Interlocked.Exchange(ref _sleeping, 0) == 1)
            _wakeEvent.Signal();
    }

    private void Run()
    {
        var ring = IoUring.Create(1024, sqPoll: false);
        ArmWake(ring);
        while (true)
        {
            while (_posted.TryDequeue(out var operation))
                Submit(ring, operation);
            _sleeping = 1;
            Interlocked.MemoryBarrier();
            var mustWait = _posted.IsEmpty && !ring.TryPeekCompletion();
            ring.Enter(mustWait ? 1u : 0u, mustWait ? 1000 : 0);
            Volatile.Write(ref _sleeping, 0);
            while (ring.TryTakeCompletion(out var completion))
            {
                if (completion.UserData == 0)
                    ArmWake(ring);
                else
                    OperationOf(completion.UserData).Complete(completion.Result);
            }
        }
    }

    private RingOperation OperationOf(ulong userData)
    {
        lock (_operations)
            return _operations[(int)userData - 1];
    }

    private static void Submit(IoUring ring, RingOperation operation)
    {
        var entry = ring.NextEntry();
        entry->Opcode = operation.Opcode;
        entry->Fd = operation.Fd;
        entry->Address = (ulong)operation.Address;
        entry->Length = (uint)operation.Length;
        entry->OperationFlags = operation.Opcode == OpSend ? SocketConstants.MsgNoSignal : 0u;
        entry->UserData = (ulong)operation.Index;
    }

    private void ArmWake(IoUring ring)
    {
        var entry = ring.NextEntry();
        entry->Opcode = OpRead;
        entry->Fd = _wakeEvent.Fd;
        entry->Address = (ulong)_wakeEvent.Buffer;
        entry->Length = sizeof(ulong);
        entry->UserData = 0;
    }
}
