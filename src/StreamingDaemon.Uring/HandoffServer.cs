using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Loop;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring;

/// <summary>
/// Listens for handoffs and streams to the clients they bring, on one thread of its own with one io_uring, or
/// on several (<see cref="HandoffServerOptions.Rings"/>).
/// </summary>
/// <example><code>
/// var server = new HandoffServer(new HandoffServerOptions { SocketPath = "/run/x.sock" }, handler);
/// await server.StartAsync();       // throws HandoffServerException with cause and fix
/// …
/// server.BeginDrain();             // no new handoffs; running streams go on
/// await server.Completion;         // ends when the last client has
/// </code></example>
public sealed partial class HandoffServer
{
    private readonly IHandoffHandler _handler;
    private readonly ConnectionLimiter _places = new();
    private readonly LoopStatistics[] _counters;
    private readonly TaskCompletionSource _listenerLost =
        new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _completion =
        new(TaskCreationOptions.RunContinuationsAsynchronously);
    private HandoffServerOptions _options;

    /// <summary>The first of them accepts. Empty until all are ready.</summary>
    private volatile EventLoop[] _loops = [];
    private volatile HandoffIntake? _intake;
    private ServerThreads? _threads;
    private int _running;
    private int _startCalled;

    /// <summary>Creates a server; nothing happens before <see cref="StartAsync"/>.</summary>
    public HandoffServer(HandoffServerOptions options, IHandoffHandler handler)
    {
        _options = options with
        {
            OnThreadReplaced = ReportReplacement,
            OnListenerLost = () => _listenerLost.TrySetResult(),
        };
        _handler = handler;
        _counters = [.. Enumerable.Range(0, Math.Max(1, options.Rings)).Select(_ => new LoopStatistics())];
        Statistics = new HandoffServerStatistics(_counters, _places);
    }

    /// <summary>Counters, from any thread.</summary>
    public HandoffServerStatistics Statistics { get; }

    /// <summary>Did the start succeed? Stays true after the loops have ended.</summary>
    public bool HasStarted => _loops.Length > 0;

    private EventLoop? Accepting => _loops is [var first, ..] ? first : null;

    /// <summary>Clients of each loop at the moment.</summary>
    internal IReadOnlyList<int> Loads => [.. _loops.Select(l => l.Clients.Load)];

    /// <summary>Native buffers in use, of all loops.</summary>
    internal int RentedBuffers => _loops.Sum(l => l.Context.Buffers.Rented);

    /// <summary>Did it end while a call on a client's socket had not returned? Then that loop keeps its
    /// buffers, which the call may still use. Known once <see cref="Completion"/> has completed.</summary>
    internal bool HasLeftBehind => _loops.Any(l => l.Clients.HasLeftBehind);

    /// <summary>Memory that streams may hold.</summary>
    public MemoryBudget Memory => _options.Memory;

    /// <summary>The path the server listens on, once it does: from the options, or of the passed
    /// socket.</summary>
    public string SocketPath => _intake?.SocketPath ?? _options.SocketPath;

    /// <summary>Why the socket's path still exists after the end, in a sentence; null if it does
    /// not.</summary>
    public string? PathLeft => _intake?.PathLeft;

    /// <summary>How the descriptor limit is divided; null before the start.</summary>
    public DescriptorBudget? Budget => _intake?.Budget;

    /// <summary>Completes when every loop has ended. Faults with <see cref="HandoffServerException"/> if a
    /// ring failed, which stops the others.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Completes if another holder of the passed socket has shut it down: no handoff comes any more.
    /// Running streams go on.</summary>
    public Task ListenerLost => _listenerLost.Task;

    /// <summary>Sets up the rings, binds the socket and starts the loops' threads.</summary>
    /// <exception cref="HandoffServerException">The kernel refused a ring or the socket; the message says how
    /// to fix it.</exception>
    public async Task StartAsync()
    {
        if (Interlocked.Exchange(ref _startCalled, 1) == 1)
            throw new InvalidOperationException("The server was started before.");
        var others = new EventLoop[_counters.Length - 1];
        _running = _counters.Length;
        var started = 0;
        IgnoreOwnersSignal();
        try
        {
            _threads = new ServerThreads(_options);
            Statistics.HungThreads = CountHung;
            // The loop that accepts comes last: a process that finds its socket finds all loops.
            for (; started < others.Length; started++)
                others[started] = await StartLoopAsync(started + 1, null).ConfigureAwait(false);
            await StartLoopAsync(0, others).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            _completion.TrySetException(e);
            foreach (var loop in others.AsSpan(0, started))
                loop.RequestDrain();
            _threads?.End();
            throw;
        }
    }

    private Task<EventLoop> StartLoopAsync(int index, EventLoop[]? others)
    {
        var made = new TaskCompletionSource<EventLoop>(TaskCreationOptions.RunContinuationsAsynchronously);
        // The ring belongs to the thread that made it (SINGLE_ISSUER), so the loop's own thread does all of
        // it.
        _threads!.Spares.Start(NameOf(index), () => RunLoop(index, others, made));
        return made.Task;
    }

    private static string NameOf(int index) => index == 0 ? "io_uring loop" : $"io_uring loop {index + 1}";

    /// <summary>
    /// Removes the socket's path, takes what is in the accept queue, closes the listener; running streams go
    /// on.
    /// <see cref="Completion"/> ends with the last of them. From any thread; more than once does no harm.
    /// </summary>
    public void BeginDrain() => Accepting?.RequestDrain();

    /// <summary>As <see cref="BeginDrain"/>, and drops every client at once.</summary>
    public void Stop()
    {
        foreach (var loop in _loops)
            loop.RequestStop();
    }

    /// <summary>Changes the timeouts, in milliseconds, of every wait that begins from now on. From any
    /// thread, one at a time.</summary>
    public void SetTimeouts(int handoffMs, int writeMs, int lingerMs)
    {
        _options = _options with
        {
            HandoffTimeoutMs = handoffMs,
            WriteTimeoutMs = writeMs,
            LingerTimeoutMs = lingerMs,
        };
        foreach (var loop in _loops)
            loop.Context.Options = _options;
    }

    /// <summary>Returns the memory that a burst left behind to the system. From any thread.</summary>
    public void TrimMemory()
    {
        foreach (var loop in _loops)
            loop.RequestTrim();
        LinuxNative.TrimAllocator();
    }

    /// <summary>Do the loops turn? Wakes them and waits for a turn of each.</summary>
    /// <param name="timeout">Longest wait.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>True if each of them turned, or is done; false if one did not, or all have ended.</returns>
    public async Task<bool> IsTurningAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        var waitingFor = _loops.Select(loop => (Loop: loop, loop.Context.Statistics.Turns)).ToList();
        if (waitingFor.Count == 0 || Completion.IsCompleted)
            return false;
        while (true)
        {
            foreach (var (loop, _) in waitingFor)
                loop.Context.Mailbox.Wake();
            waitingFor.RemoveAll(w => w.Loop.Context.Statistics.Turns != w.Turns || w.Loop.RanToEnd);
            if (waitingFor.Count == 0)
                return true;
            if (Completion.IsCompleted || Environment.TickCount64 > deadline)
                return false;
            await Task.Delay(1, cancellationToken).ConfigureAwait(false);
        }
    }

    /// <summary>Waits until every call of the handler has returned; calls may outlast their client, and
    /// <see cref="Completion"/>, for a moment.</summary>
    /// <returns>False if some had not returned within the timeout.</returns>
    public async Task<bool> HandlersEndedAsync(TimeSpan timeout)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        while (_loops.Any(loop => loop.Context.Handlers.Running > 0))
        {
            if (Environment.TickCount64 > deadline)
                return false;
            await Task.Delay(1).ConfigureAwait(false);
        }

        return true;
    }

    private void RunLoop(int index, EventLoop[]? others, TaskCompletionSource<EventLoop> made)
    {
        EventLoop loop;
        try
        {
            loop = new EventLoop(_options, _handler, _counters[index], _places, _threads!);
            loop.Clients.Calls.Replace = call => ReplaceThread(index, call);
            loop.Clients.Calls.OnCostly = () => MeasureCalls(loop);
        }
        catch (Exception e)
        {
            made.TrySetException(e);
            return;
        }

        if (others is not null)
        {
            if (!TryAccept(loop, others, made))
                return;
            _loops = [loop, .. others];
            // Values set meanwhile.
            foreach (var each in _loops)
                each.Context.Options = _options;
        }

        made.TrySetResult(loop);
        RunToEnd(loop, () => true);
    }

    /// <summary>The last step of a start: a process that finds the socket finds a server that is
    /// ready.</summary>
    private bool TryAccept(EventLoop loop, EventLoop[] others, TaskCompletionSource<EventLoop> made)
    {
        try
        {
            _intake = loop.Accept(others);
            return true;
        }
        catch (Exception e)
        {
            loop.Dispose();
            made.TrySetException(e);
            return false;
        }
    }

    /// <param name="loop">The loop.</param>
    /// <param name="begin">False if the loop is another thread's.</param>
    private void RunToEnd(EventLoop loop, Func<bool> begin)
    {
        try
        {
            if (!begin())
                return;
            loop.Run();
            loop.Dispose();
            OnLoopEnded();
        }
        catch (LoopReplacedException e)
        {
            loop.Clients.Calls.OnReturned(e.Call);
        }
        catch (Exception e)
        {
            loop.Dispose();
            _completion.TrySetException(e);
            // Only half a server would be left.
            Stop();
            OnLoopEnded();
        }
    }

    private void OnLoopEnded()
    {
        if (Interlocked.Decrement(ref _running) != 0)
            return;
        // The last threads that release anything have ended.
        EndThreads();
        _completion.TrySetResult();
    }
}
