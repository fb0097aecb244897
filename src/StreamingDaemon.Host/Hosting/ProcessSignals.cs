using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Handles the process's signals one after the other, on a thread made at the start.
/// </summary>
/// <remarks>
/// PosixSignalRegistration starts a thread for each SIGTERM and SIGINT. If the system then refuses a thread
/// (RLIMIT_NPROC, TasksMax), it throws in a native callback, and the process aborts with every stream. SIGHUP
/// goes to the thread pool, which may have no free thread either.
/// <para>
/// The registration still installs the handlers and makes the runtime's signal thread, which reads the pipe
/// that the handlers write to. Only the callback of that thread is replaced. The runtime sets this callback
/// once, in the static constructor of PosixSignalRegistration, so our callback stays.
/// </para>
/// <para>
/// signalfd(2) does not work here: every thread would have to block the signals. Some threads of the runtime
/// exist before Main, and nothing can change their masks. If one thread does not block SIGTERM, SIGTERM ends
/// the process.
/// </para>
/// </remarks>
internal sealed unsafe partial class ProcessSignals
{
    private const int SigHup = 1;
    private const nint DefaultHandler = 0; // SIG_DFL

    /// <summary>Most signals queued; more are dropped. The kernel too keeps only one pending per signal.
    /// </summary>
    private const int MostWaiting = 64;

    private static ProcessSignals? s_current;

    private readonly object _gate = new();
    private readonly Queue<PosixSignal> _waiting = new(MostWaiting);
    private readonly List<PosixSignalRegistration> _registrations = [];
    private Action<PosixSignal> _handler = _ => { };

    /// <summary>Handles SIGTERM, SIGINT and SIGHUP from now on. Call it once in a process.</summary>
    /// <param name="handler">Called for one signal at a time. It must not block for long.</param>
    /// <exception cref="HandoffServerException">The system refuses a thread.</exception>
    /// <exception cref="InvalidOperationException">It was called before.</exception>
    public void Handle(Action<PosixSignal> handler)
    {
        _handler = handler;
        PreparedThread.Start("signals", Run);
        if (Interlocked.CompareExchange(ref s_current, this, null) is not null)
            throw new InvalidOperationException("The signals of this process are handled already.");
        // nohup and apt start the daemon with SIGHUP ignored, and the runtime would leave it so.
        _ = SetHandler(SigHup, DefaultHandler);
        try
        {
            foreach (var signal in (ReadOnlySpan<PosixSignal>)
                [PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP])
            {
                _registrations.Add(PosixSignalRegistration.Create(signal, OnRegistered));
            }
        }
        catch (TypeInitializationException e) when (!LastWords.IsOfDescriptors(e))
        {
            throw new HandoffServerException(PreparedThread.Refusal(".NET SigHandler"));
        }

        SetPosixSignalHandler(&OnSignal);
    }

    /// <summary>From libSystem.Native, which Native AOT links into the program.</summary>
    [LibraryImport("libSystem.Native", EntryPoint = "SystemNative_SetPosixSignalHandler")]
    private static partial void SetPosixSignalHandler(delegate* unmanaged<int, int, int> handler);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetHandler(int signal, nint handler);

    /// <summary>Runs on the runtime's signal thread, which reads no other signal meanwhile.</summary>
    /// <returns>1: the signal is handled, so the runtime skips its default action.</returns>
    [UnmanagedCallersOnly]
    private static int OnSignal(int number, int signal)
    {
        s_current!.Post((PosixSignal)signal);
        return 1;
    }

    /// <summary>Handles a signal that arrives before the callback is replaced.</summary>
    private void OnRegistered(PosixSignalContext context)
    {
        context.Cancel = true;
        Post(context.Signal);
    }

    private void Post(PosixSignal signal)
    {
        lock (_gate)
        {
            if (_waiting.Count == MostWaiting)
                return;
            _waiting.Enqueue(signal);
            Monitor.Pulse(_gate);
        }
    }

    private void Run()
    {
        while (true)
            _handler(Next());
    }

    private PosixSignal Next()
    {
        lock (_gate)
        {
            while (_waiting.Count == 0)
                Monitor.Wait(_gate);
            return _waiting.Dequeue();
        }
    }
}
