using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// The signals of the process, one by one, on a thread that is made before they are needed.
/// </summary>
/// <remarks>
/// PosixSignalRegistration starts a thread for each SIGTERM and SIGINT. If the system gives no thread by
/// then (RLIMIT_NPROC, TasksMax), that throws in a callback of native code, and the process aborts with every
/// stream. SIGHUP it queues to the thread pool, which may have no thread either.
/// <para>
/// The registration still installs the handlers and makes the runtime's own thread, which reads from a pipe
/// what a handler has written. Only the last step is replaced: what that thread calls for a signal. The
/// runtime sets this callback once, in the static constructor of PosixSignalRegistration, so ours stays.
/// </para>
/// <para>
/// The other way, signalfd(2), needs the signals blocked in every thread. Some threads of the runtime exist
/// before Main, and nothing can change their masks; one that does not block SIGTERM lets it end the process.
/// </para>
/// </remarks>
internal sealed unsafe partial class ProcessSignals
{
    private const int SigHup = 1;
    private const nint DefaultHandler = 0; // SIG_DFL

    /// <summary>This many say no more than a few do. The kernel itself keeps one of a kind.</summary>
    private const int MostWaiting = 64;

    private static ProcessSignals? s_current;

    private readonly object _gate = new();
    private readonly Queue<PosixSignal> _waiting = new(MostWaiting);
    private readonly List<PosixSignalRegistration> _registrations = [];
    private Action<PosixSignal> _handler = _ => { };

    /// <summary>Takes SIGTERM, SIGINT and SIGHUP for the rest of the process's life.</summary>
    /// <param name="handler">Called for one signal after the other. It must not wait for long.</param>
    /// <exception cref="HandoffServerException">The system gives no thread.</exception>
    public void Handle(Action<PosixSignal> handler)
    {
        _handler = handler;
        PreparedThread.Start("signals", Run);
        if (Interlocked.CompareExchange(ref s_current, this, null) is not null)
            throw new InvalidOperationException("The signals of a process are taken once.");
        // nohup and apt start the daemon with SIGHUP ignored, and the runtime leaves it ignored.
        _ = SetHandler(SigHup, DefaultHandler);
        try
        {
            foreach (var signal in (ReadOnlySpan<PosixSignal>)
                [PosixSignal.SIGTERM, PosixSignal.SIGINT, PosixSignal.SIGHUP])
                _registrations.Add(PosixSignalRegistration.Create(signal, OnRegistered));
        }
        catch (TypeInitializationException e) when (!LastWords.IsOfDescriptors(e))
        {
            throw new HandoffServerException(PreparedThread.Refusal(".NET SigHandler"));
        }

        SetPosixSignalHandler(&OnSignal);
    }

    /// <summary>In libSystem.Native, which Native AOT links into the program.</summary>
    [LibraryImport("libSystem.Native", EntryPoint = "SystemNative_SetPosixSignalHandler")]
    private static partial void SetPosixSignalHandler(delegate* unmanaged<int, int, int> handler);

    [LibraryImport("libc", EntryPoint = "signal")]
    private static partial nint SetHandler(int signal, nint handler);

    /// <summary>On the runtime's signal thread: while it is in here, no other signal is read.</summary>
    /// <returns>1: the signal is handled, and its default action is not taken.</returns>
    [UnmanagedCallersOnly]
    private static int OnSignal(int number, int signal)
    {
        s_current!.Post((PosixSignal)signal);
        return 1;
    }

    /// <summary>For a signal that comes before the callback is replaced.</summary>
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
