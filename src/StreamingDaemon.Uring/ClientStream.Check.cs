using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring;

// The check of the client's socket, by the handler's thread: its calls take the socket's lock, so they may
// wait. The loop neither closes the descriptor meanwhile nor waits for the check.
public sealed partial class ClientStream
{
    private const int Waiting = 0;
    private const int Running = 1;
    private const int Over = 2;

    /// <summary>The loop closes the descriptor: nothing is called on it.</summary>
    private const int Skipped = 3;

    /// <summary>It took too long, and the loop has said so.</summary>
    private const int TimedOut = 4;
    private const int State = 7;

    /// <summary>The loop waits for the end of the check.</summary>
    private const int Notify = 8;

    private int _check;

    /// <summary>Checks the socket and calls the handler. By the handler's thread.</summary>
    /// <param name="worker">The thread, which may be replaced during the check.</param>
    /// <param name="mayWait">False if too many threads hang in checks already: then the socket stays as it
    /// came.</param>
    internal void Begin(ReplaceableThread<ClientStream>.Worker worker, bool mayWait)
    {
        if (!TryBeginCheck())
        {
            CallHandler();
            return;
        }

        HandoffRejection? rejection = null;
        var peer = Connection.Peer;
        if (mayWait)
        {
            worker.BeginCall();
            rejection = ClientSocket.Prepare(Connection.Fd);
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
            CallHandler();
        }
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

    // What follows is called by the loop.

    /// <summary>The client seems to be gone, which a socket that never was connected does too.</summary>
    /// <returns>False if the check is over. Else its end posts the stream.</returns>
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

    /// <summary>Gives a check up that has not come back.</summary>
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

    /// <summary>Has the check not begun? Then it is we who keep the client waiting.</summary>
    internal bool AwaitsCheck => (Volatile.Read(ref _check) & State) == Waiting;
}
