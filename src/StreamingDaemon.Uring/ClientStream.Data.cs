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

    private RareParts? _rare;

    /// <summary>Why the handoff data cannot be read, for the log and the client; null if it can.</summary>
    public string? DataProblem
    {
        get => _rare?.DataProblem;
        private set => Rare.DataProblem = value;
    }

    private RareParts Rare => _rare ??= new RareParts();

    /// <summary>Reads the data, and calls the handler. On the thread of the handoffs' data.</summary>
    internal void BeginWithData(ReplaceableThread<ClientStream>.Worker worker)
    {
        var data = new SealedMemory(TakeDataDescriptor(), _rare!.DataLength);
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
            _rare = new RareParts { DataFd = data.Fd, DataLength = data.Length };
        if (received.DataProblem is { } problem)
            DataProblem = problem;
    }

    /// <summary>Whoever takes it closes it.</summary>
    private int TakeDataDescriptor() => _rare is { } rare
        ? Interlocked.Exchange(ref rare.DataFd, NoDescriptor)
        : NoDescriptor;

    /// <summary>Calls the handler, once the data is here.</summary>
    private void BeginHandling()
    {
        if (_rare is not { DataFd: >= 0 })
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

    /// <summary>What few streams need: for data that came in a descriptor or could not be read, and for a
    /// client that is behind.</summary>
    private sealed class RareParts
    {
        public int DataFd = NoDescriptor;

        public int DataLength { get; init; }

        public string? DataProblem { get; set; }

        public RoomSource? Room { get; set; }
    }
}
