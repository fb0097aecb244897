using StreamingDaemon.Uring.Clients;

namespace StreamingDaemon.Uring;

// What a stream holds of the memory budget: itself until its end, and its request until nobody needs it.
// Pending output is counted where it is allocated (NativeBufferPool).
public sealed partial class ClientStream
{
    /// <summary>Everything was returned: a backend that goes on after its stream changes nothing.</summary>
    private const long NoRequest = -1;

    /// <summary>A second of tries: no memory is returned any more.</summary>
    private const int MostTries = 100;

    private readonly int _streamBytes;
    private long _requestBytes = NoRequest;
    private bool _handlingEnded;

    /// <summary>Sets how many bytes of memory the request takes from now on; 0 if it was released. From any
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

    /// <summary>As <see cref="HoldRequest"/>, for what a backend holds of the answer, once nobody needs the
    /// request.</summary>
    /// <returns>False if streams hold far too much.</returns>
    public bool HoldAnswer(long bytes)
    {
        HoldRequest(bytes);
        return !_loop.Options.Memory.IsExceeded;
    }

    /// <summary>Reports the cost of a stream of this kind if it is higher than expected. The new cost counts
    /// from the next stream on.</summary>
    public void ExpectBytesPerStream(int bytes)
    {
        var memory = _loop.Options.Memory;
        if (bytes > memory.BytesPerStream)
            memory.BytesPerStream = bytes;
    }

    /// <summary>Ends what the handler has not ended, and returns the memory it held. Acts once: the thread of
    /// the handoffs also calls it, if there was no memory even to begin.</summary>
    internal void EndHandling()
    {
        if (Interlocked.Exchange(ref _handlingEnded, true))
            return;
        if (_outbox.EndRequested == StreamEndRequest.None)
            Abort();
        ReleaseHandoffData();
        DropDataDescriptor();
        ReturnMemory();
        DropBuffer();
        _loop.Handlers.OnReturned();
    }

    /// <summary>The loop must hear of what is in the outbox, or its client waits for ever. If the Channel
    /// finds no memory to grow, it is tried again.</summary>
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
