using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Loop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring;

// Threads that hang in calls on what came from outside are counted, reported and, if they run a loop,
// replaced.
public sealed partial class HandoffServer
{
    /// <summary>The same on every architecture that .NET runs on.</summary>
    private const int SigIo = 29;

    private readonly object _hungGate = new();
    private bool _hasEnded;

    /// <summary>Null until some call is costly.</summary>
    private volatile CostlyCallThread? _costlyCalls;

    /// <summary>Makes the calls of clients whose calls were quick, and leaves the others to
    /// <see cref="_costlyCalls"/>. Null until both threads could be started.</summary>
    private volatile CostlyCallThread? _quickCalls;

    /// <summary>Another holder of a client's socket may make this process its owner (F_SETOWN, O_ASYNC). The
    /// kernel then sends SIGIO whenever the socket is ready, which ends a process by default.</summary>
    private static void IgnoreOwnersSignal() => LinuxNative.IgnoreSignal(SigIo);

    /// <summary>Gives sockets that may be slow to close to the kernel, so that they do not delay the end of
    /// the process. Call it once, right before that end, from any thread.</summary>
    public void LeaveSlowSockets() => _threads?.ExitReleases.LeaveToKernel();

    private void ReportReplacement(HungWork work) => ThreadPool.UnsafeQueueUserWorkItem(
        static report => report.Handler.OnThreadReplaced(report.Work), (Handler: _handler, Work: work),
        preferLocal: false);

    private (HungThreads Releases, HungThreads Checks, HungThreads Calls) CountHung()
    {
        var (checks, calls) = (_threads!.Data.HungThreads, default(HungThreads));
        foreach (var loop in _loops)
        {
            checks += loop.Context.Handlers.Thread.AllHungThreads;
            calls += loop.Clients.Calls.HungThreads;
        }

        if (_costlyCalls is { } costly)
            checks += costly.HungThreads;
        if (_quickCalls is { } quick)
            checks += quick.HungThreads;

        return (_threads.Releaser.HungThreads + _threads.OddReleaser.HungThreads, checks, calls);
    }

    /// <summary>Starts another thread for a loop whose own thread hangs in a call.</summary>
    private void ReplaceThread(int index, long call)
    {
        try
        {
            _threads!.Spares.Replace(
                NameOf(index), isSpare => TakeOver(_loops[index], call, isSpare), isLoop: true);
        }
        catch (HandoffServerException)
        {
            // No thread is available: the next look tries again.
        }
    }

    /// <summary>Has a loop measure its calls: they compute for so long that streams would wait for each
    /// other. By the thread that watches.</summary>
    private void MeasureCalls(EventLoop loop)
    {
        try
        {
            lock (_hungGate)
            {
                if (_hasEnded)
                    return;
                if (_costlyCalls is null)
                {
                    _costlyCalls = new CostlyCallThread(null, _options, _threads!.Spares);
                    _threads.Monitor.Add(_costlyCalls);
                }

                if (_quickCalls is null)
                {
                    _quickCalls = new CostlyCallThread(_costlyCalls, _options, _threads!.Spares);
                    _threads.Monitor.Add(_quickCalls);
                }
            }

            loop.Clients.Calls.Measure(_quickCalls);
        }
        catch (HandoffServerException)
        {
            // A thread is missing. If the first one exists, it makes all these calls. Otherwise the loop
            // makes them itself, until a later look gets a thread.
            loop.Clients.Calls.Measure(_costlyCalls);
        }
    }

    private void EndThreads()
    {
        lock (_hungGate)
        {
            _hasEnded = true;
            _quickCalls?.End();
            _costlyCalls?.End();
        }

        _threads!.End();
    }

    private void TakeOver(EventLoop loop, long call, bool isSpare)
    {
        IoUring ring;
        try
        {
            ring = loop.Context.CreateRing();
        }
        catch (HandoffServerException)
        {
            // No ring is available: the next look tries again.
            return;
        }

        RunToEnd(loop, () =>
        {
            var isOurs = loop.TryTakeOver(call, ring, mayUseWorkers: !isSpare);
            if (!isOurs)
                ring.Dispose();
            return isOurs;
        });
    }
}
