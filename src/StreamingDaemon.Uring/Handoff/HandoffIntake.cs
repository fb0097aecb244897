using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// What only the loop that accepts has: the listener, the accepts (<see cref="Acceptor"/>), the handoffs on
/// their way (<see cref="HandoffReceiver"/>), and the balancer that gives their clients to the loops.
/// Loop-owned, unless it says otherwise.
/// </summary>
internal sealed class HandoffIntake : IHandoffSource
{
    private readonly LoopContext _loop;
    private readonly LoopBalancer _balancer;
    private readonly HandoffListener _listener;
    private readonly HandoffReceiver _receiver;
    private readonly Acceptor _acceptor;

    /// <summary>Binds the socket, or takes the passed one. The last step of a start: a process that finds the
    /// socket finds a loop that is ready.</summary>
    /// <exception cref="HandoffServerException">The kernel refused the socket, or the descriptor limit is too
    /// low.</exception>
    public HandoffIntake(LoopContext loop, LoopBalancer balancer)
    {
        var options = loop.Options;
        (_loop, _balancer) = (loop, balancer);
        _listener = HandoffListener.Open(options, loop.Paths);
        try
        {
            Budget = options.Budget ?? DescriptorBudget.Read(options);
            if (!Budget.Suffices)
                throw new HandoffServerException($"nofile: {Budget.Explain(options.MaxConnections)}");
            Budget.Reserve(loop.Mailbox.WakeEvent.Fd);
            loop.Places.Open(Budget, loop.Mailbox.Wake);
            _receiver = new HandoffReceiver(loop, balancer, Budget);
            _acceptor = new Acceptor(loop, _listener, _receiver);
        }
        catch
        {
            _listener.Unlink(loop.Paths, hasStreams: false);
            _listener.Dispose();
            throw;
        }
    }

    /// <summary>The path the loop accepts on. From any thread.</summary>
    public string SocketPath => _listener.Path;

    /// <summary>Why the path still exists after the end; null if it does not.</summary>
    public string? PathLeft => _listener.Left;

    /// <summary>Of the whole process. From any thread.</summary>
    public DescriptorBudget Budget { get; }

    public int Count => _receiver.Count;

    public bool IsDone => _listener.Fd < 0 && _receiver.Count == 0;

    public bool EndsOnStop => true;

    public bool MayServeHeld => _receiver.MayServeHeld;

    public void Turn()
    {
        _receiver.ServeHeld();
        if (_listener.Fd < 0)
            return;
        _receiver.DropSilentBeyondTheCap();
        _acceptor.Turn();
    }

    public void OnAccepted(in CompletionEntry completion) => _acceptor.OnAccepted(completion);

    public void OnListenerWatched(int result) => _acceptor.OnListenerWatched(result);

    public uint GenerationOf(int slot) => _receiver[slot].Generation;

    public void OnReceived(int slot, int result) => _receiver.OnReceived(_receiver[slot], result);

    public void ArmAgain(List<CompletionEntry> completed, HashSet<ulong> ended)
    {
        _acceptor.ArmAgain(completed);
        _receiver.ArmAgain(ended);
    }

    public void Trim() => _receiver.Trim();

    public void BeginDrain()
    {
        // The path first: new connects fail at once, or reach a successor. We serve the queued ones.
        _listener.Unlink(_loop.Paths, hasStreams: true);
        _acceptor.BeginDrain();
    }

    public void Stop()
    {
        _acceptor.Stop();
        _receiver.Stop();
    }

    public void BeginClose()
    {
        _listener.Unlink(_loop.Paths, hasStreams: false);
        if (_listener.TakeDescriptor() is >= 0 and var fd)
            _loop.Releases.Add(fd, ReleaseKind.Odd);
        _balancer.DismissOthers();
    }

    public void Abandon() => _receiver.Abandon();

    public void Dispose() => _receiver.Dispose();
}
