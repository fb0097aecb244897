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

    private readonly ServerThreads _threads;
    private readonly Operations _operations;
    private readonly HandoffListener? _listener;
    private readonly TimerWheel _timers;
    private readonly Action<LoopTimer> _fireTimer;
    private readonly NativeBufferPool _buffers;
    private readonly HandoffMemoryPool _handoffMemory;
    private readonly HandlerThread _handlerThread;
    private volatile HandoffServerOptions _options;
    private readonly ConnectionLimiter _places;
    private volatile bool _ranToEnd;
    private long _nowMs = ClockMs();

    // Not Environment.TickCount64, which moves in steps of 4 ms (CLOCK_MONOTONIC_COARSE).
    private static long ClockMs() => Stopwatch.GetTimestamp() / (Stopwatch.Frequency / 1000);

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
        _options = options;
        Handler = handler;
        Statistics = statistics;
        _places = places;
        _threads = threads;
        if (options.AlwaysUsesWorkers)
            (_usesWorkers, _usesWorkersUntilMs) = (true, long.MaxValue);
        _others = others;
        // Bounded by the number of streams: each is in it once at most.
        _channel = Channel.CreateUnbounded<ClientStream>(new UnboundedChannelOptions { SingleReader = true });
        _reader = _channel.Reader;
        _timers = new TimerWheel(_nowMs);
        _fireTimer = FireTimer;
        _buffers = new NativeBufferPool(options.Memory);
        _handoffMemory = NewHandoffMemory(options);
        _operations = new Operations(CreateRing());
        try
        {
            _scratch = _buffers.Rent(ScratchBytes);
            CopyKeepAlive();
            // Before the socket: whoever finds that finds a loop that has all it needs.
            _handlerThread = new HandlerThread(options);
            if (others is not null)
            {
                _listener = HandoffListener.Open(options);
                _budget = options.Budget ?? DescriptorBudget.Read(options);
                _backlog = EffectiveBacklog(options.Backlog);
                if (!_budget.Suffices)
                    throw new HandoffServerException($"nofile: {_budget.Explain(options.MaxConnections)}");
                _budget.Reserve(_wakeEvent.Fd);
                places.Open(_budget, Wake);
            }
        }
        catch
        {
            _listener?.Unlink(HandoffListener.LastPatienceMs);
            _listener?.Dispose();
            _handlerThread?.End();
            _operations.Dispose();
            _wakeEvent.Dispose();
            throw;
        }

        threads.Monitor.Add(this);
        threads.Monitor.Add(_handlerThread);
    }

    /// <summary>A ring of the calling thread.</summary>
    /// <exception cref="HandoffServerException">The kernel refuses it.</exception>
    public IoUring CreateRing() =>
        IoUring.Create((uint)Options.RingEntries, Options.SqPoll, Options.RingFault);

    /// <summary>Replaced by other threads: what is set from it is set anew for each use.</summary>
    public HandoffServerOptions Options
    {
        get => _options;
        set => _options = value;
    }

    /// <summary>Where it accepts; null where another loop does.</summary>
    public string? SocketPath => _listener?.Path;

    /// <summary>Why the path is still there after the end; null if it is not.</summary>
    public string? PathLeft => _listener?.Left;

    /// <summary>Of the whole process; null where another loop accepts.</summary>
    public DescriptorBudget? Budget => _budget;

    /// <summary>Has it ended, and not by a failure? From any thread.</summary>
    public bool RanToEnd => _ranToEnd;

    public IHandoffHandler Handler { get; }

    /// <summary>Where producers put what they flush. From any thread.</summary>
    public NativeBufferPool Buffers => _buffers;

    public LoopStatistics Statistics { get; }

    /// <summary>Threads that hang in checks of new clients. From any thread.</summary>
    public HungThreads HungChecks => _handlerThread.HungThreads;

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
            DrainChannel();
            EndWindow();
            StartDirtySends();
            ApplyRequests();
            if (_listener is not null)
                ContinueAccepting(_listener);
            HandOverReleases();
            WaitForCompletions();
            TakeCompletions();
            _nowMs = ClockMs();
            _timers.Advance(_nowMs, _fireTimer);
            MayLeaveWorkers();
            Statistics.OnTurn(_operations.EnterCalls);
            if (_clientCount == 0 && _handoffCount == 0)
                Volatile.Write(ref _busy, 0);
        }

        _ranToEnd = true;
    }

    /// <summary>There is a client or a handoff: calls may hang.</summary>
    private void MarkBusy()
    {
        if (_busy != 0)
            return;
        Volatile.Write(ref _busy, 1);
        _threads.Monitor.Wake();
    }

    private bool IsFinished() =>
        _draining && _listener is not { Fd: >= 0 } && _handoffCount == 0 && _clientCount == _leftBehind
        && !_passed.Reader.TryPeek(out _);

    private void WaitForCompletions()
    {
        // Others write the eventfd only while this is set; what they enqueued, asked for or gave back before
        // is seen by the looks after it (the fence makes the store visible first, as theirs does the
        // enqueue).
        _sleeping = 1;
        Interlocked.MemoryBarrier();
        var mustWait = _dirty.Count == 0 && !_operations.TryPeekCompletion() && !_reader.TryPeek(out _)
            && !_passed.Reader.TryPeek(out _) && _returnedCalls.IsEmpty && !RequestsPending()
            && !MayServeHeld() && !IsFinished();
        var hasRoom = _operations.Enter(mustWait ? 1u : 0u, mustWait ? SleepMs() : 0);
        Volatile.Write(ref _sleeping, 0);
        if (!hasRoom)
        {
            // The kernel is short of memory for requests and there is nothing to take: give it a moment
            // instead of spinning on it.
            Thread.Sleep(1);
        }
    }

    private void TakeCompletions()
    {
        _nowMs = ClockMs();
        while (_operations.TryTakeCompletion(out var completion))
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
            Release(listener, ReleaseKind.Odd);
        DismissOthers();
        // The ring first: once it is closed the kernel holds no pointer into the memory below.
        _operations.Dispose();
        _wakeEvent.Dispose();
        DropPassedClients();
        AbandonAll();
        HandOverReleases();
        _handlerThread.End();
        // After a failure the kernel may still be at work for a ring that is being torn down, and a call that
        // hangs sends from the memory: it stays, for the moment that the process has left.
        if (!_ranToEnd || _leftBehind > 0)
            return;
        _buffers.Return(ref _scratch);
        _buffers.Return(ref _keepAlive);
        _buffers.Dispose();
        _handoffMemory.Dispose();
    }
}
