using System.Threading.Tasks.Sources;

namespace StreamingDaemon.Uring;

// How a producer learns what became of its stream: from its own object, not from a task's besides.
public sealed partial class ClientStream : IValueTaskSource<ClientEnd>
{
    private ManualResetValueTaskSourceCore<ClientEnd> _ended =
        new() { RunContinuationsAsynchronously = true };

    private bool _hasEnded;

    /// <summary>Ends when the loop is done with the stream: the end of stream was sent, or the client
    /// dropped. To be awaited once (<see cref="ValueTask{TResult}"/>); what follows runs on the thread
    /// pool.</summary>
    public ValueTask<ClientEnd> Ended => new(this, _ended.Version);

    /// <summary>The loop is done with this stream; called once or more often.</summary>
    internal void OnEnded(ClientEnd end)
    {
        if (!Interlocked.Exchange(ref _hasEnded, true))
            _ended.SetResult(end);
    }

    ClientEnd IValueTaskSource<ClientEnd>.GetResult(short token) => _ended.GetResult(token);

    ValueTaskSourceStatus IValueTaskSource<ClientEnd>.GetStatus(short token) => _ended.GetStatus(token);

    void IValueTaskSource<ClientEnd>.OnCompleted(Action<object?> continuation, object? state, short token,
        ValueTaskSourceOnCompletedFlags flags) => _ended.OnCompleted(continuation, state, token, flags);
}
