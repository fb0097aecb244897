using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring;

// The handler's thread checks the client's socket. These calls take the socket's lock, so they may wait.
// Meanwhile the loop neither closes the descriptor nor waits for the check.
public sealed partial class ClientStream
{
    private const int Waiting = 0;
    private const int Running = 1;
    private const int Over = 2;

    /// <summary>The loop closes the descriptor: no call is made on it any more.</summary>
    private const int Skipped = 3;

    /// <summary>The check took too long, and the loop has reported it.</summary>
    private const int TimedOut = 4;
    private const int State = 7;

    /// <summary>The loop waits for the end of the check.</summary>
    private const int Notify = 8;

    private int _check;

    /// <summary>What calls in its socket's network namespace cost. Set by the loop; other threads read only
    /// its cookie.</summary>
    internal NetworkCost? Network { get; set; }

    /// <summary>Checks the socket and calls the handler. On the handler's thread.</summary>
    /// <param name="worker">The thread, which may be replaced during the check.</param>
    /// <param name="mayWait">False if too many threads hang in checks already: then the socket is left
    /// unchanged.</param>
    /// <returns>CPU time of the check, nanoseconds; 0 if there was no check.</returns>
    internal long Begin(ReplaceableThread<ClientStream>.Worker worker, bool mayWait)
    {
        if (!TryBeginCheck())
        {
            BeginHandling();
            return 0;
        }

        var ns = 0L;
        HandoffRejection? rejection = null;
        var peer = Connection.Peer;
        if (mayWait)
        {
            worker.BeginCall();
            var begunNs = ThreadTime.OfThisThread();
            rejection = ClientSocket.Prepare(Connection.Fd, out var isTls);
            IsTls = _loop.Options.TlsAnswer?.Invoke(Connection.Fd) ?? isTls;
            ns = ThreadTime.OfThisThread() - begunNs;
            worker.EndCall();
        }

        var before = Interlocked.Exchange(ref _check, Over);
        var hasTimedOut = (before & State) == TimedOut;
        if ((before & Notify) != 0)
            PostAgain();
        if (rejection is { } reason && !hasTimedOut)
            _loop.Handlers.ReportRejection(reason, peer);
        if (rejection is not null || hasTimedOut)
        {
            Abort();
            OnHandled();
        }
        else
        {
            BeginHandling();
        }

        return ns;
    }

    private bool TryBeginCheck()
    {
        while (true)
        {
            var check = Volatile.Read(ref _check);
            if ((check & State) != Waiting)
                return false;
            if (Interlocked.CompareExchange(ref _check, check | Running, check) == check)
                return true;
        }
    }

    // The loop calls everything below.

    /// <summary>The client seems to be gone. A socket that was never connected looks the same.</summary>
    /// <returns>False if the check is over. Otherwise the end of the check posts the stream.</returns>
    internal bool IsToldWhenChecked() => (Interlocked.Or(ref _check, Notify) & State) is Waiting or Running;

    /// <summary>May the descriptor be closed?</summary>
    /// <returns>False if it is being checked. Then the end of the check posts the stream.</returns>
    internal bool TryLetGo()
    {
        while (true)
        {
            var check = Volatile.Read(ref _check);
            switch (check & State)
            {
                case Over or Skipped:
                    return true;
                case Waiting when Interlocked.CompareExchange(ref _check, Skipped, check) == check:
                    return true;
                case Running or TimedOut
                    when Interlocked.CompareExchange(ref _check, check | Notify, check) == check:
                    return false;
            }
        }
    }

    /// <summary>Is the check under way?</summary>
    internal bool IsBeingChecked => (Volatile.Read(ref _check) & State) == Running;

    /// <summary>Gives up a check that has not returned.</summary>
    /// <returns>False if there is none.</returns>
    internal bool TryTimeOutCheck()
    {
        while (true)
        {
            var check = Volatile.Read(ref _check);
            if ((check & State) != Running)
                return false;
            if (Interlocked.CompareExchange(ref _check, (check & Notify) | TimedOut, check) == check)
                return true;
        }
    }

    /// <summary>Has the check not begun? Then we keep the client waiting.</summary>
    internal bool AwaitsCheck => (Volatile.Read(ref _check) & State) == Waiting;
}
