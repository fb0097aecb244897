using System.Diagnostics;
using System.Threading.Channels;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;

namespace StreamingDaemon.Uring.Loop;

/// <summary>
/// The loop: one thread, one ring, the sockets of its clients. Everything here is owned by that thread but
/// for the members in <c>EventLoop.Wake.cs</c>. It allocates nothing per token, runs nobody else's code, and
/// blocks nowhere but in io_uring_enter. Where there are several, one of them accepts for all
/// (<c>EventLoop.Balancing.cs</c>).
/// </summary>
internal sealed partial class EventLoop : IDisposable
{
    /// <summary>Streams taken from the Channel in one turn, so that completions are never starved by
    /// producers.</summary>
    private const int StreamsPerTurn = 4096;

    private readonly LoopContext _loop;
    private readonly HandoffListener? _listener;
    private readonly Action<LoopTimer> _fireTimer;
    private readonly HandoffMemoryPool _handoffMemory;
    private volatile bool _ranToEnd;

    /// <summary>Creates the ring and, to accept, binds the socket. To be called on the thread that will
    /// <see cref="Run"/>.</summary>
    /// <param name="options">What the server was told.</param>
    /// <param name="handler">Called for each client.</param>
    /// <param name="statistics">Counted in by this loop alone.</param>
    /// <param name="places">Those of all loops.</param>
    /// <param name="threads">Those that all loops share.</param>
    /// <param name="others">The loop is to accept, for itself and these; null where another one
    /// does.</param>
    /// <exception cref="HandoffServerException">Either is refused.</exception>
    public EventLoop(HandoffServerOptions options, IHandoffHandler handler, LoopStatistics statistics,
        ConnectionLimiter places, ServerThreads threads, EventLoop[]? others)
    {
        _others = others;
        if (options.AlwaysUsesWorkers)
            (_usesWorkers, _usesWorkersUntilMs) = (true, long.MaxValue);
        _fireTimer = FireTimer;
        _handoffMemory = NewHandoffMemory(options);
        _loop = new LoopContext(options, handler, statistics, places, threads);
        try
        {
            _scratch = _loop.Buffers.Rent(ScratchBytes);
            CopyKeepAlive();
            if (others is not null)
            {
                // Last: whoever finds the socket finds a loop that has all it needs.
                _listener = HandoffListener.Open(options);
                _budget = options.Budget ?? DescriptorBudget.Read(options);
                _backlog = EffectiveBacklog(options.Backlog);
                if (!_budget.Suffices)
                    throw new HandoffServerException($"nofile: {_budget.Explain(options.MaxConnections)}");
                _budget.Reserve(_loop.Mailbox.WakeEvent.Fd);
                places.Open(_budget, _loop.Mailbox.Wake);
            }
        }
        catch
        {
            _listener?.Unlink(HandoffListener.LastPatienceMs);
            _listener?.Dispose();
            _loop.Handlers.Thread.End();
            _loop.Dispose();
            throw;
        }

        threads.Monitor.Add(this);
    }

    /// <summary>What its parts share; some of it is for any thread.</summary>
    public LoopContext Context => _loop;

    /// <summary>Where it accepts; null where another loop does.</summary>
    public string? SocketPath => _listener?.Path;

    /// <summary>Why the path is still there after the end; null if it is not.</summary>
    public string? PathLeft => _listener?.Left;

    /// <summary>Of the whole process; null where another loop accepts.</summary>
    public DescriptorBudget? Budget => _budget;

    /// <summary>Has it ended, and not by a failure? From any thread.</summary>
    public bool RanToEnd => _ranToEnd;

    /// <summary>Turns until a drain has ended or <see cref="RequestStop"/> was answered.</summary>
    /// <exception cref="HandoffServerException">The ring failed; nothing is streamed any more.</exception>
    public void Run()
    {
        SchedulingSlice.ShortenForThisThread();
        Volatile.Write(ref _threadId, LinuxNative.GetThreadId());
        ArmWake();
        while (!IsFinished())
        {
            TakeReturnedCalls();
            TakePassedClients();
            TakeMail();
            EndWindow();
            StartDirtySends();
            ApplyRequests();
            if (_listener is not null)
                ContinueAccepting(_listener);
            _loop.Releases.HandOver();
            WaitForCompletions();
            TakeCompletions();
            _loop.ReadClock();
            _loop.Timers.Advance(_loop.NowMs, _fireTimer);
            MayLeaveWorkers();
            _loop.Statistics.OnTurn(_loop.Operations.EnterCalls);
            if (_clientCount == 0 && _handoffCount == 0)
                _loop.MarkIdle();
        }

        _ranToEnd = true;
    }

    private bool IsFinished() =>
        _draining && _listener is not { Fd: >= 0 } && _handoffCount == 0 && _clientCount == _leftBehind
        && !_passed.Reader.TryPeek(out _);

    private void WaitForCompletions()
    {
        _loop.Mailbox.BeginSleep();
        var mustWait = _dirty.Count == 0 && !_loop.Operations.TryPeekCompletion() && !_loop.Mailbox.HasMail
            && !_passed.Reader.TryPeek(out _) && _returnedCalls.IsEmpty
            && !MayServeHeld() && !IsFinished();
        var hasRoom = _loop.Operations.Enter(mustWait ? 1u : 0u, mustWait ? SleepMs() : 0);
        _loop.Mailbox.EndSleep();
        if (!hasRoom)
        {
            // The kernel is short of memory for requests and there is nothing to take: give it a moment
            // instead of spinning on it.
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
        var kind = OperationId.KindOf(completion.UserData);
        switch (kind)
        {
            case OperationKind.Wake:
                OnWake(completion.Result);
                break;
            case OperationKind.Accept:
                OnAccept(completion);
                break;
            case OperationKind.HandoffReceive:
                var handoff = _handoffs[OperationId.SlotOf(completion.UserData)];
                if (IsCurrent(handoff.Generation, completion))
                    OnHandoffReceived(handoff, completion.Result);
                break;
            case OperationKind.Cancel:
                // Only failures are posted. One that finds nothing was late, which is its normal race.
                break;
            default:
                var client = _clients[OperationId.SlotOf(completion.UserData)];
                if (IsCurrent(client.Generation, completion))
                    DispatchTo(client, kind, completion);
                break;
        }
    }

    /// <summary>Is a completion its slot's, or that of a previous user?</summary>
    private static bool IsCurrent(uint generation, in CompletionEntry completion) =>
        (generation & OperationId.GenerationMask) == OperationId.GenerationOf(completion.UserData);

    private void DispatchTo(ClientConnection client, OperationKind kind, in CompletionEntry completion)
    {
        switch (kind)
        {
            case OperationKind.ClientWatch:
                OnClientWatch(client, completion);
                break;
            case OperationKind.ClientWritable:
                OnClientWritable(client, completion.Result);
                break;
            case OperationKind.ClientReadable:
                OnReadable(client, completion.Result);
                break;
            default:
                // A worker's: while it was under way, the slot was not freed.
                _workerCalls--;
                OnClientCall(client, kind, completion.Result);
                break;
        }
    }

    private void FireTimer(LoopTimer timer)
    {
        switch (timer)
        {
            case ClientConnection client:
                OnClientDeadline(client);
                break;
            case HandoffConnection handoff:
                ExpireHandoff(handoff);
                break;
        }
    }

    /// <summary>Closes what is left. On the loop's thread, after <see cref="Run"/> has ended, however it
    /// did.</summary>
    public void Dispose()
    {
        _listener?.Unlink(HandoffListener.LastPatienceMs);
        if (_listener?.TakeDescriptor() is >= 0 and var listener)
            _loop.Releases.Add(listener, ReleaseKind.Odd);
        DismissOthers();
        _loop.Dispose();
        DropPassedClients();
        AbandonAll();
        _loop.Releases.HandOver();
        _loop.Handlers.Thread.End();
        // After a failure the kernel may still be at work for a ring that is being torn down, and a call that
        // hangs sends from the memory: it stays, for the moment that the process has left.
        if (!_ranToEnd || _leftBehind > 0)
            return;
        _loop.Buffers.Return(ref _scratch);
        _loop.Buffers.Return(ref _keepAlive);
        _loop.Buffers.Dispose();
        _handoffMemory.Dispose();
    }
}
