using System.Threading.Channels;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Loop;

// Several loops: one accepts, and gives each client to the one that has the fewest.
internal sealed partial class EventLoop
{
    /// <summary>The loops that do not accept; null for each of those.</summary>
    private readonly EventLoop[]? _others;
    private readonly Channel<ReceivedClient> _passed =
        Channel.CreateUnbounded<ReceivedClient>(new UnboundedChannelOptions { SingleReader = true });
    private int _load;

    /// <summary>A client whose place is taken, and who is to be served.</summary>
    private readonly struct ReceivedClient(
        int fd, HandoffPeer peer, NativeBuffer data, HandoffAdmission admission, int streamBytes,
        long acceptedTimestamp)
    {
        public readonly int StreamBytes = streamBytes;
        public readonly int Fd = fd;
        public readonly HandoffPeer Peer = peer;
        public readonly NativeBuffer Data = data;
        public readonly HandoffAdmission Admission = admission;
        public readonly long AcceptedTimestamp = acceptedTimestamp;
    }

    /// <summary>Clients that this loop serves, or was given. From any thread.</summary>
    public int Load => Volatile.Read(ref _load);

    private EventLoop LeastLoaded()
    {
        var least = this;
        foreach (var loop in _others!)
        {
            if (loop.Load < least.Load)
                least = loop;
        }

        return least;
    }

    /// <summary>By the loop that accepts. False where this one has ended: then the client is still the
    /// caller's.</summary>
    private bool TryPass(in ReceivedClient client)
    {
        if (!_passed.Writer.TryWrite(client))
            return false;
        _loop.Mailbox.Wake();
        return true;
    }

    private void TakePassedClients()
    {
        while (_passed.Reader.TryRead(out var passed))
        {
            _loop.MarkBusy();
            var client = StartClient(passed);
            if (_stopped)
                BeginClose(client, ClientEnd.ServerStopped);
        }
    }

    /// <summary>Nobody will be passed to the others any more: they end when their last client has.</summary>
    private void DismissOthers()
    {
        foreach (var loop in _others ?? [])
            loop.RequestDrain();
    }

    /// <summary>Of a loop that has failed, or was stopped before it began.</summary>
    private void DropPassedClients()
    {
        _passed.Writer.TryComplete();
        while (_passed.Reader.TryRead(out var passed))
        {
            _loop.Releases.Add(passed.Fd, ReleaseKind.Odd);
            GiveBack(passed);
        }
    }

    /// <summary>Of one that is not served after all: everything but its descriptor.</summary>
    private void GiveBack(in ReceivedClient client)
    {
        var data = client.Data;
        if (client.Admission == HandoffAdmission.Admitted)
            _loop.Options.Memory.Return(client.StreamBytes + MemoryBudget.ForHandoff(data.Length));
        _loop.Buffers.Return(ref data);
        Interlocked.Decrement(ref _load);
        _loop.Places.Return(client.Admission != HandoffAdmission.OverCapacity);
    }
}
