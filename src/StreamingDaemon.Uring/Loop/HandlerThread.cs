using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Loop;

/// <summary>
/// The thread that begins every call of the handler. Behind the thread pool's queue a new client's head would
/// wait for the tokens of all others.
/// </summary>
internal sealed class HandlerThread
{
    private readonly Queue<ClientStream> _streams = new();
    private bool _waits;
    private bool _ended;

    /// <exception cref="HandoffServerException">The system gives no further thread.</exception>
    public HandlerThread(HandoffServerOptions options) => ServerThread.Start("handoffs", Run, options);

    /// <summary>By the loop: it waits no longer than it takes to move a reference.</summary>
    public void Post(ClientStream stream)
    {
        lock (_streams)
        {
            _streams.Enqueue(stream);
            // Once: until it has woken up, it need not be woken again.
            if (_waits)
                Monitor.Pulse(_streams);
            _waits = false;
        }
    }

    /// <summary>Ends the thread once all that was posted has begun.</summary>
    public void End()
    {
        lock (_streams)
        {
            _ended = true;
            Monitor.Pulse(_streams);
        }
    }

    private void Run()
    {
        SchedulingSlice.ShortenForThisThread();
        while (TryTake(out var stream))
            stream.Begin();
    }

    private bool TryTake(out ClientStream stream)
    {
        lock (_streams)
        {
            while (_streams.Count == 0 && !_ended)
            {
                _waits = true;
                Monitor.Wait(_streams);
            }

            _waits = false;
            return _streams.TryDequeue(out stream!);
        }
    }
}
