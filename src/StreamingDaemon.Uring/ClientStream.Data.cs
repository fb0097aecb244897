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

    private int _dataFd = NoDescriptor;
    private int _dataLength;

    /// <summary>Why the handoff data cannot be read, for the log and the client; null if it can.</summary>
    public string? DataProblem { get; private set; }

    /// <summary>Reads the data, and calls the handler. On the thread of the handoffs' data.</summary>
    internal void BeginWithData(ReplaceableThread<ClientStream>.Worker worker)
    {
        var data = new SealedMemory(TakeDataDescriptor(), _dataLength);
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
        DataProblem = received.DataProblem;
        if (received.Memory is { } data)
            (_dataFd, _dataLength) = (data.Fd, data.Length);
    }

    /// <summary>Whoever takes it closes it.</summary>
    private int TakeDataDescriptor() => Interlocked.Exchange(ref _dataFd, NoDescriptor);

    /// <summary>Calls the handler, once the data is here.</summary>
    private void BeginHandling()
    {
        if (_dataFd < 0)
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
}
