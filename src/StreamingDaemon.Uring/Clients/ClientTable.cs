using System.Threading.Channels;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

/// <summary>The clients of one loop: their slots, what they share, and those that another loop passed.
/// Loop-owned, unless it says otherwise.</summary>
internal sealed class ClientTable
{
    private readonly List<ClientConnection> _slots = [];
    private readonly Stack<int> _free = new();
    private readonly Channel<ReceivedClient> _passed =
        Channel.CreateUnbounded<ReceivedClient>(new UnboundedChannelOptions { SingleReader = true });

    private NativeBuffer _keepAlive;
    private int _load;
    private int _leftBehind;
    private bool _stopped;

    public ClientTable(LoopContext loop)
    {
        Loop = loop;
        Calls = new ClientCalls(loop);
        Sends = new SendQueue(loop);
        var options = loop.Options;
        if (options.KeepAlive.IsEmpty || options.KeepAliveIntervalMs == 0)
            return;
        _keepAlive = loop.Buffers.Rent(options.KeepAlive.Length);
        _keepAlive.Append(options.KeepAlive.Span);
    }

    public LoopContext Loop { get; }

    public ClientCalls Calls { get; }

    public SendQueue Sends { get; }

    /// <summary><see cref="HandoffServerOptions.KeepAlive"/> in memory that the kernel can read: one copy,
    /// sent to every client. Empty if there is no keep-alive.</summary>
    public NativeBuffer KeepAlive => _keepAlive;

    /// <summary>Slots that are in use.</summary>
    public int Count { get; private set; }

    /// <summary>Is nobody left to wait for? A client that hangs in a call is not waited for.</summary>
    public bool IsDone => Count == _leftBehind && !HasPassed;

    /// <summary>Must a client's memory stay, because the kernel may still send from it?</summary>
    public bool HasLeftBehind => _leftBehind > 0;

    /// <summary>Is there a client to take from another loop?</summary>
    public bool HasPassed => _passed.Reader.TryPeek(out _);

    /// <summary>Clients that this loop serves or was given. From any thread.</summary>
    public int Load => Volatile.Read(ref _load);

    public ClientConnection this[int slot] => _slots[slot];

    /// <summary>Gives this table a client. From the thread of the loop that accepts.</summary>
    /// <returns>False if the loop has ended. Then everything is given back except the descriptors.</returns>
    public bool TryGive(in ReceivedClient client, bool isOwn)
    {
        Interlocked.Increment(ref _load);
        if (isOwn)
        {
            Start(client);
        }
        else if (!_passed.Writer.TryWrite(client))
        {
            GiveBack(client);
            return false;
        }
        else
        {
            Loop.Mailbox.Wake();
        }

        return true;
    }

    /// <summary>Once a turn: starts the clients that another loop has passed.</summary>
    public void TakePassed()
    {
        while (_passed.Reader.TryRead(out var passed))
        {
            Loop.MarkBusy();
            var client = Start(passed);
            if (_stopped)
                client.Stop();
        }
    }

    /// <summary>Drops every client at once, and those that still come.</summary>
    public void Stop()
    {
        _stopped = true;
        foreach (var client in _slots)
            client.Stop();
    }

    /// <summary>The ring is gone: tells the producers of the remaining clients, and closes their
    /// sockets.</summary>
    public void Abandon()
    {
        _passed.Writer.TryComplete();
        while (_passed.Reader.TryRead(out var passed))
        {
            Loop.Releases.Add(passed.Fd, ReleaseKind.Odd);
            if (passed.Memory is { } memory)
            {
                Loop.Releases.Add(memory.Fd, ReleaseKind.Odd);
                Loop.Data.GiveBack();
            }

            GiveBack(passed);
        }

        foreach (var client in _slots)
            client.Abandon();
    }

    /// <summary>Arms in a new ring what was in flight in the old one.</summary>
    /// <param name="ended">What has completed in the old one: the names of operations.</param>
    public void ArmAgain(HashSet<ulong> ended)
    {
        foreach (var client in _slots)
            client.ArmAgain(ended);
    }

    /// <summary>Returns what clients share, once the kernel no longer reads it.</summary>
    public void ReleaseBuffers()
    {
        Loop.Buffers.Return(ref _keepAlive);
        Calls.ReleaseBuffers();
    }

    // The table's clients call everything below.

    /// <summary>A call on its socket does not return: the loop does not wait for it.</summary>
    public void OnLeftBehind() => _leftBehind++;

    public void OnFree(ClientConnection client, bool wasLeftBehind)
    {
        _leftBehind -= wasLeftBehind ? 1 : 0;
        Count--;
        _free.Push(client.Index);
        Interlocked.Decrement(ref _load);
    }

    private ClientConnection Start(in ReceivedClient received)
    {
        if (!_free.TryPop(out var index))
        {
            index = _slots.Count;
            _slots.Add(new ClientConnection(index, this));
        }

        Count++;
        var client = _slots[index];
        client.Start(received);
        return client;
    }

    /// <summary>For a client that is not served after all: returns everything but its descriptors.</summary>
    private void GiveBack(in ReceivedClient client)
    {
        var data = client.Data;
        if (client.Admission == HandoffAdmission.Admitted)
            Loop.Options.Memory.Return(client.StreamBytes + MemoryBudget.ForHandoff(client.HandoffBytes));
        Loop.Buffers.Return(ref data);
        Interlocked.Decrement(ref _load);
        Loop.Places.Return(client.Admission != HandoffAdmission.OverCapacity);
    }
}
