using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Uring.Loop;

/// <summary>
/// The loop: one thread that turns, sleeps, and gives each completion to its owner. Clients and handoffs are
/// types of their own; this thread owns all their state. It allocates nothing per token, runs no foreign
/// code, and blocks only in io_uring_enter.
/// </summary>
internal sealed class EventLoop : IDisposable
{
    /// <summary>Streams taken from the mailbox in one turn, so that producers never starve
    /// completions.</summary>
    private const int StreamsPerTurn = 4096;

    private readonly LoopContext _loop;
    private readonly Action<LoopTimer> _fireTimer;
    private IHandoffSource _handoffs = NoHandoffs.Instance;
    private volatile bool _ranToEnd;
    private bool _turnsAgain;
    private bool _draining;
    private bool _stopped;

    /// <summary>Makes the ring. Call it on the thread that will <see cref="Run"/>.</summary>
    /// <param name="options">What the server was told.</param>
    /// <param name="handler">Called for each client.</param>
    /// <param name="statistics">Counters that only this loop writes.</param>
    /// <param name="places">The places of all loops.</param>
    /// <param name="threads">The threads that all loops share.</param>
    /// <exception cref="HandoffServerException">The kernel refuses it.</exception>
    public EventLoop(HandoffServerOptions options, IHandoffHandler handler, LoopStatistics statistics,
        ConnectionLimiter places, ServerThreads threads)
    {
        _fireTimer = FireTimer;
        _loop = new LoopContext(options, handler, statistics, places, threads);
        try
        {
            Clients = new ClientTable(_loop);
        }
        catch
        {
            _loop.Handlers.Thread.End();
            _loop.Dispose();
            throw;
        }

        threads.Monitor.Add(Clients.Calls);
    }

    /// <summary>What its parts share; some of it is for any thread.</summary>
    public LoopContext Context => _loop;

    /// <summary>Its load and the calls that hang are for any thread.</summary>
    public ClientTable Clients { get; }

    /// <summary>Has it ended without a failure? From any thread.</summary>
    public bool RanToEnd => _ranToEnd;

    /// <summary>Stop accepting, serve what is queued, end when the last client has. The loop that accepts
    /// tells the others. From any thread.</summary>
    public void RequestDrain() => _loop.Mailbox.Request(LoopRequests.Drain);

    /// <summary>Drop every client at once, and stop accepting. From any thread.</summary>
    public void RequestStop() => _loop.Mailbox.Request(LoopRequests.Stop);

    /// <summary>Give free memory back. From any thread.</summary>
    public void RequestTrim()
    {
        _loop.Buffers.Trim();
        _loop.Mailbox.Request(LoopRequests.Trim);
    }

    /// <summary>Makes this loop the one that accepts. Call it before <see cref="Run"/>, on the same thread.
    /// If it fails, dispose the loop.</summary>
    /// <param name="others">The loops that serve some of the clients.</param>
    /// <returns>Where handoffs come from.</returns>
    /// <exception cref="HandoffServerException">The kernel refuses the socket, or the descriptor limit is too
    /// low.</exception>
    public HandoffIntake Accept(EventLoop[] others)
    {
        var balancer = new LoopBalancer(Clients, Array.ConvertAll(others, static loop => loop.Clients));
        var intake = new HandoffIntake(_loop, balancer);
        _handoffs = intake;
        return intake;
    }

    /// <summary>Turns until a drain has ended or <see cref="RequestStop"/> was answered.</summary>
    /// <exception cref="HandoffServerException">The ring failed; streaming has stopped.</exception>
    /// <exception cref="LoopReplacedException">Another thread runs the loop.</exception>
    public void Run()
    {
        SchedulingSlice.ShortenForThisThread();
        Clients.Calls.BindThread();
        _loop.Operations.ReadWake(_loop.Mailbox.WakeEvent);
        while (!IsFinished())
        {
            Clients.Calls.TakeReturned();
            Clients.TakePassed();
            TakeMail();
            Clients.Sends.EndWindow();
            Clients.Sends.StartSends();
            ApplyRequests();
            _handoffs.Turn();
            _loop.Releases.HandOver();
            if (MayTurnAgain())
                continue;
            WaitForCompletions();
            TakeCompletions();
            _loop.ReadClock();
            _loop.Timers.Advance(_loop.NowMs, _fireTimer);
            Clients.Calls.MayLeaveWorkers();
            _loop.Statistics.OnTurn(_loop.Operations.EnterCalls);
            if (Clients.Count == 0 && _handoffs.Count == 0)
                _loop.MarkIdle();
        }

        _ranToEnd = true;
    }

    /// <summary>
    /// Takes over the loop from a thread that hangs in a call on one client's socket. That thread is deep in
    /// the kernel and cannot be freed; everything else is ours. What was in flight in its ring is armed in a
    /// new one. Whatever waits in a ring has no effect before its completion is taken: polls, accepts, looks
    /// at messages, the eventfd. So nothing is lost or done twice. On the thread that will <see cref="Run"/>.
    /// </summary>
    /// <param name="call">The number of the call that hangs.</param>
    /// <param name="ring">A new ring of the calling thread.</param>
    /// <param name="mayUseWorkers">False if the system gives no thread, so the kernel has no
    /// workers.</param>
    /// <returns>False if the call has returned.</returns>
    public bool TryTakeOver(long call, IoUring ring, bool mayUseWorkers)
    {
        if (!Clients.Calls.TryTakeOver(call, mayUseWorkers))
            return false;
        var completed = _loop.Operations.Replace(ring);
        var ended = new HashSet<ulong>();
        foreach (var completion in completed)
        {
            if ((completion.Flags & IoUringConstants.CqeMore) == 0)
                ended.Add(completion.UserData);
        }

        _handoffs.ArmAgain(completed, ended);
        Clients.ArmAgain(ended);
        // Last: what these arm is in the new ring, and must not be armed twice. Run arms the eventfd.
        foreach (var completion in completed)
        {
            if (OperationId.KindOf(completion.UserData) != OperationKind.Wake)
                Dispatch(completion);
        }

        _loop.Options.OnThreadReplaced?.Invoke(HungWork.Loop);
        return true;
    }

    private bool IsFinished() => _draining && _handoffs.IsDone && Clients.IsDone;

    private void TakeMail()
    {
        for (var i = 0; i < StreamsPerTurn && _loop.Mailbox.TryTake(out var stream); i++)
            stream.Connection.OnPosted(stream);
    }

    private void ApplyRequests()
    {
        // No HasFlag: it allocates in a build that is not optimized.
        var requests = _loop.Mailbox.TakeRequests();
        if (requests == LoopRequests.None)
            return;
        if ((requests & LoopRequests.Trim) != 0)
            _handoffs.Trim();
        // A stop of the loop that accepts is a drain too; the others drain when that has ended.
        var drains = (requests & LoopRequests.Drain) != 0
            || ((requests & LoopRequests.Stop) != 0 && _handoffs.EndsOnStop);
        if (drains && !_draining)
        {
            _draining = true;
            _handoffs.BeginDrain();
        }

        if ((requests & LoopRequests.Stop) == 0 || _stopped)
            return;
        _stopped = true;
        _handoffs.Stop();
        Clients.Stop();
    }

    /// <summary>Is there more to do already? One enter then submits what both turns ask for. Never twice in a
    /// row: completions must not wait for a mailbox that is never empty. No timer fires meanwhile: what it
    /// waits for may be among those completions.</summary>
    private bool MayTurnAgain() =>
        _turnsAgain = !_turnsAgain && (!Clients.Sends.IsEmpty || _loop.Mailbox.HasMail);

    private void WaitForCompletions()
    {
        _loop.Mailbox.BeginSleep();
        var mustWait = Clients.Sends.IsEmpty && !_loop.Operations.TryPeekCompletion()
            && !_loop.Mailbox.HasMail && !Clients.HasPassed && !Clients.Calls.HasReturned
            && !_handoffs.MayServeHeld && !IsFinished();
        var hasRoom = _loop.Operations.Enter(mustWait ? 1u : 0u, mustWait ? Clients.Sends.SleepMs() : 0);
        _loop.Mailbox.EndSleep();
        if (!hasRoom)
        {
            // The kernel is short of memory for requests and there is nothing to take: wait a moment instead
            // of spinning.
            Thread.Sleep(1);
        }
    }

    private void TakeCompletions()
    {
        _loop.ReadClock();
        while (_loop.Operations.TryTakeCompletion(out var completion))
            Dispatch(completion);
    }

    private void Dispatch(in CompletionEntry completion)
    {
        var (kind, slot) = (OperationId.KindOf(completion.UserData), OperationId.SlotOf(completion.UserData));
        switch (kind)
        {
            case OperationKind.Wake:
                OnWake(completion.Result);
                break;
            case OperationKind.Accept:
                _handoffs.OnAccepted(completion);
                break;
            case OperationKind.ListenerWatch:
                _handoffs.OnListenerWatched(completion.Result);
                break;
            case OperationKind.Cancel:
                // Only failures are posted. A cancel that finds nothing was late, which is its normal race.
                break;
            default:
                // Does it belong to the slot's present user, or is it late, from a previous one?
                var isHandoff = kind == OperationKind.HandoffReceive;
                var generation = isHandoff ? _handoffs.GenerationOf(slot) : Clients[slot].Generation;
                if (!OperationId.IsOf(completion.UserData, generation))
                    break;
                if (isHandoff)
                    _handoffs.OnReceived(slot, completion.Result);
                else
                    Clients[slot].OnCompletion(kind, completion);
                break;
        }
    }

    private void OnWake(int result)
    {
        if (result < 0 && result is not (-Errno.Again or -Errno.Intr or -Errno.Canceled))
            throw new HandoffServerException($"eventfd: {LinuxNative.Describe(result)}", -result);
        _loop.Operations.ReadWake(_loop.Mailbox.WakeEvent);
    }

    private void FireTimer(LoopTimer timer)
    {
        switch (timer)
        {
            case ClientConnection client:
                client.OnDeadline();
                break;
            case HandoffConnection handoff:
                handoff.OnDeadline();
                break;
        }
    }

    /// <summary>Closes what is left. On the loop's thread, after <see cref="Run"/> has ended in any
    /// way.</summary>
    public void Dispose()
    {
        _handoffs.BeginClose();
        _loop.Dispose();
        Clients.Abandon();
        _handoffs.Abandon();
        _loop.Mailbox.Close();
        _loop.Releases.HandOver();
        _loop.Handlers.Thread.End();
        // After a failure the kernel may still be at work for a ring that is being torn down, and a call that
        // hangs sends from the memory: it stays, for the moment that the process has left.
        if (!_ranToEnd || Clients.HasLeftBehind)
            return;
        Clients.ReleaseBuffers();
        _loop.Buffers.Dispose();
        _handoffs.Dispose();
    }
}
