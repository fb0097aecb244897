using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring;

// Handoff data that came in a descriptor. It is read on a thread of its own, after the check of the socket
// and before the handler is called.
public sealed partial class ClientStream
{
    private const int NoDescriptor = -1;

    private PassedData? _passedData;

    /// <summary>Why the handoff data cannot be read, for the log and the client; null if it can.</summary>
    public string? DataProblem
    {
        get => _passedData?.Problem;
        private set => (_passedData ??= new PassedData()).Problem = value;
    }

    /// <summary>Reads the data, and calls the handler. On the thread of the handoffs' data.</summary>
    internal void BeginWithData(ReplaceableThread<ClientStream>.Worker worker)
    {
        var data = new SealedMemory(TakeDataDescriptor(), _passedData!.Length);
        if (!SealedMemory.IsSealed(data.Fd))
        {
            DataProblem = DataDescriptor.NotSealed;
            // The close of whatever it is may wait.
            _loop.CloseElsewhere(data.Fd);
            _loop.Data.GiveBack();
        }
        else
        {
            Read(data, worker);
        }

        CallHandler();
    }

    private void Read(SealedMemory data, ReplaceableThread<ClientStream>.Worker worker)
    {
        NativeBuffer buffer = default;
        try
        {
            buffer = _loop.Buffers.Rent(data.Length);
            worker.BeginCall();
            var isWhole = data.TryReadInto(ref buffer);
            worker.EndCall();
            if (!isWhole)
                DataProblem = DataDescriptor.OtherLength;
            (_handoffData, buffer) = (buffer, _handoffData);
        }
        finally
        {
            _loop.Buffers.Return(ref buffer);
            _ = LinuxNative.Close(data.Fd);
            _loop.Data.GiveBack();
        }
    }

    private void Take(in ReceivedClient received)
    {
        if (received.Memory is { } data)
            _passedData = new PassedData { Fd = data.Fd, Length = data.Length };
        if (received.DataProblem is { } problem)
            DataProblem = problem;
    }

    /// <summary>Whoever takes it closes it.</summary>
    private int TakeDataDescriptor() => _passedData is { } data
        ? Interlocked.Exchange(ref data.Fd, NoDescriptor)
        : NoDescriptor;

    /// <summary>Calls the handler, once the data is here.</summary>
    private void BeginHandling()
    {
        if (_passedData is not { Fd: >= 0 })
        {
            CallHandler();
        }
        else if (_isGone)
        {
            // The server may have ended, and with it the thread that reads.
            DataProblem = DataDescriptor.Unread;
            CallHandler();
        }
        else
        {
            _loop.ReadData(this);
        }
    }

    private void DropDataDescriptor()
    {
        if (TakeDataDescriptor() is not (>= 0 and var fd))
            return;
        _loop.CloseElsewhere(fd);
        _loop.Data.GiveBack();
    }

    /// <summary>Only for streams whose data came in a descriptor, or could not be read.</summary>
    private sealed class PassedData
    {
        public int Fd = NoDescriptor;

        public int Length { get; init; }

        public string? Problem { get; set; }
    }
}
