using StreamingDaemon.Uring.Clients;

namespace StreamingDaemon.Uring;

// What a stream holds of the budget of memory: itself until its end, and its request until nobody needs it.
// Pending output is counted where it is allocated (NativeBufferPool).
public sealed partial class ClientStream
{
    /// <summary>Everything was given back: a backend that goes on after its stream changes nothing.</summary>
    private const long NoRequest = -1;

    /// <summary>A second of them: nothing is given back any more.</summary>
    private const int MostTries = 100;

    private readonly int _streamBytes;
    private long _requestBytes = NoRequest;
    private bool _handlingEnded;

    /// <summary>Says how many bytes of memory the request takes from now on; 0 if it was let go. From any
    /// thread.</summary>
    public void HoldRequest(long bytes)
    {
        while (Volatile.Read(ref _requestBytes) is >= 0 and var held)
        {
            if (Interlocked.CompareExchange(ref _requestBytes, bytes, held) != held)
                continue;
            if (bytes != held)
                _loop.Options.Memory.Hold(bytes - held);
            return;
        }
    }

    /// <summary>Says what a stream of this kind costs, if it is more than was expected: from the next one on
    /// it is counted.</summary>
    public void ExpectBytesPerStream(int bytes)
    {
        var memory = _loop.Options.Memory;
        if (bytes > memory.BytesPerStream)
            memory.BytesPerStream = bytes;
    }

    /// <summary>Ends what the handler has not ended, and gives back what was held for it. Once: the thread of
    /// the handoffs calls it too, if there was no memory even to begin.</summary>
    internal void EndHandling()
    {
        if (Interlocked.Exchange(ref _handlingEnded, true))
            return;
        if (_outbox.EndRequested == StreamEndRequest.None)
            Abort();
        ReleaseHandoffData();
        ReturnMemory();
        DropBuffer();
        _loop.Handlers.OnReturned();
    }

    /// <summary>What was put into the outbox must reach the loop, or its client would wait for ever: if the
    /// Channel finds no memory to grow, it is tried again.</summary>
    private void PostToLoop()
    {
        for (var tries = 0; tries < MostTries; tries++)
        {
            try
            {
                _loop.Mailbox.Post(this);
                return;
            }
            catch (OutOfMemoryException)
            {
                OutOfMemory.Survive();
            }
        }

        OutOfMemory.End();
    }

    private void ReturnMemory()
    {
        if (Interlocked.Exchange(ref _requestBytes, NoRequest) is >= 0 and var held)
            _loop.Options.Memory.Return(held + _streamBytes);
    }
}
