using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Loop;

namespace StreamingDaemon.Uring;

/// <summary>
/// Listens for handoffs and streams to the clients they bring, on one thread of its own with one io_uring.
/// </summary>
/// <example><code>
/// var server = new HandoffServer(new HandoffServerOptions { SocketPath = "/run/x.sock" }, handler);
/// await server.StartAsync();       // throws HandoffServerException with cause and mend
/// …
/// server.BeginDrain();             // no new handoffs; running streams go on
/// await server.Completion;         // ends when the last client has
/// </code></example>
public sealed class HandoffServer
{
    private HandoffServerOptions _options;
    private readonly IHandoffHandler _handler;
    private readonly TaskCompletionSource _started =
        new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _completion =
        new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile EventLoop? _loop;
    private int _startCalled;

    /// <summary>Creates a server; nothing happens before <see cref="StartAsync"/>.</summary>
    public HandoffServer(HandoffServerOptions options, IHandoffHandler handler)
    {
        _options = options;
        _handler = handler;
    }

    /// <summary>Counters, from any thread.</summary>
    public HandoffServerStatistics Statistics { get; } = new();

    /// <summary>Has the start been whole? It stays so when the loop has ended.</summary>
    public bool HasStarted => _loop is not null;

    /// <summary>Where the server listens, once it does: that of the options, or of the passed
    /// socket.</summary>
    public string SocketPath => _loop?.SocketPath ?? _options.SocketPath;

    /// <summary>What the limit of descriptors is spent on; null before the start.</summary>
    public DescriptorBudget? Budget => _loop?.Budget;

    /// <summary>Ends when the loop has; faulted with <see cref="HandoffServerException"/> where the ring
    /// failed.</summary>
    public Task Completion => _completion.Task;

    /// <summary>Sets up the ring, binds the socket and starts the loop's thread.</summary>
    /// <exception cref="HandoffServerException">The ring or the socket is refused; the message says what
    /// mends it.</exception>
    public Task StartAsync()
    {
        if (Interlocked.Exchange(ref _startCalled, 1) == 1)
            throw new InvalidOperationException("The server was started before.");
        // The ring belongs to the thread that made it (SINGLE_ISSUER), hence all on the loop's own.
        var thread = new Thread(RunLoop, maxStackSize: 512 * 1024)
        {
            Name = "io_uring loop",
            IsBackground = true,
        };
        thread.Start();
        return _started.Task;
    }

    /// <summary>
    /// Removes the socket's path, takes what is in the accept queue, closes the listener; running streams go
    /// on.
    /// <see cref="Completion"/> ends with the last of them. From any thread; more than once does no harm.
    /// </summary>
    public void BeginDrain() => _loop?.RequestDrain();

    /// <summary>As <see cref="BeginDrain"/>, and drops every client at once.</summary>
    public void Stop() => _loop?.RequestStop();

    /// <summary>Other timeouts, in milliseconds, for whatever begins to wait from now on. From any thread,
    /// one at a time.</summary>
    public void SetTimeouts(int handoffMs, int writeMs, int drainMs)
    {
        _options = _options with
        {
            HandoffTimeoutMs = handoffMs,
            WriteTimeoutMs = writeMs,
            DrainTimeoutMs = drainMs,
        };
        if (_loop is { } loop)
            loop.Options = _options;
    }

    /// <summary>Gives the memory that a burst left behind back to the system. From any thread.</summary>
    public void TrimMemory()
    {
        _loop?.RequestTrim();
        LinuxNative.TrimAllocator();
    }

    /// <summary>Does the loop turn? Wakes it and waits for that.</summary>
    /// <param name="timeout">Longest wait.</param>
    /// <param name="cancellationToken">Ends the wait.</param>
    /// <returns>True where it turned, false where it did not, or has ended.</returns>
    public async Task<bool> IsTurningAsync(TimeSpan timeout, CancellationToken cancellationToken = default)
    {
        if (_loop is not { } loop || Completion.IsCompleted)
            return false;
        var turns = Statistics.Turns;
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        loop.Wake();
        while (Statistics.Turns == turns)
        {
            if (Completion.IsCompleted || Environment.TickCount64 > deadline)
                return false;
            await Task.Delay(1, cancellationToken).ConfigureAwait(false);
            loop.Wake();
        }

        return true;
    }

    /// <summary>Waits until every call of the handler has returned; they may go on a moment after their
    /// client, and after <see cref="Completion"/>.</summary>
    /// <returns>False where some had not within the timeout.</returns>
    public async Task<bool> HandlersEndedAsync(TimeSpan timeout)
    {
        var deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        while (_loop is { HandlersRunning: > 0 })
        {
            if (Environment.TickCount64 > deadline)
                return false;
            await Task.Delay(1).ConfigureAwait(false);
        }

        return true;
    }

    private void RunLoop()
    {
        EventLoop loop;
        try
        {
            loop = new EventLoop(_options, _handler, Statistics);
        }
        catch (Exception e)
        {
            _started.TrySetException(e);
            _completion.TrySetException(e);
            return;
        }

        _loop = loop;
        // Those that were set meanwhile.
        loop.Options = _options;
        _started.TrySetResult();
        try
        {
            loop.Run();
            loop.Dispose();
            _completion.TrySetResult();
        }
        catch (Exception e)
        {
            loop.Dispose();
            _completion.TrySetException(e);
        }
    }
}
