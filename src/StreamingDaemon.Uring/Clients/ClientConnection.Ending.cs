using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Clients;

// The end of a client. close(2) neither cancels nor completes what is in flight, and closing with unread
// bytes sends RST, which can eat the end of the answer: hence FIN, bounded linger, cancel, close.
internal sealed partial class ClientConnection
{
    /// <summary>Time that a refused client has to close if others wait for its slot.</summary>
    private const int CrowdedLingerTimeoutMs = 200;

    /// <summary>A call on a closing client's socket that takes longer hangs: it only ever waits for a holder
    /// of the socket's lock.</summary>
    private const int LeaveBehindAfterMs = 100;

    /// <summary>Our end of the stream is being shut down.</summary>
    private bool _isShuttingDown;

    /// <summary>What is in flight: the read of what it still sends, the wait for it, or nothing.</summary>
    private OperationKind _readOperation;

    /// <summary>It has ended, but a call on its socket does not return: the loop does not wait for
    /// it.</summary>
    private bool _isLeftBehind;
    private long _lingeredBytes;
    private byte _fruitlessReads;
    private ClientEnd _end;

    /// <summary>A call that takes its socket's lock is under way.</summary>
    private bool HasCallInFlight => _isShuttingDown || _isNotifying
        || _sendOperation == OperationKind.ClientSend || _readOperation == OperationKind.ClientRead;

    private ReleaseKind HowToRelease => _isUnix ? ReleaseKind.UnixClient : ReleaseKind.Client;

    private bool HasOperationInFlight =>
        IsSending || _isWatched || _readOperation != OperationKind.None || _isShuttingDown;

    /// <summary>The server is stopped at once.</summary>
    public void Stop()
    {
        if (_state is ClientState.Streaming or ClientState.Lingering)
            BeginClose(ClientEnd.ServerStopped);
    }

    /// <summary>Its calls have taken more CPU time than any client's may.</summary>
    public void EndAsCostly()
    {
        if (_state is ClientState.Streaming or ClientState.Lingering)
            BeginClose(ClientEnd.SlowClient);
    }

    /// <summary>The ring is gone: tells the producer, and closes the socket.</summary>
    public void Abandon()
    {
        if (_state == ClientState.Free)
            return;
        var isInUse = !_table.Calls.TryCancelCostly(this);
        ReportEnd(ClientEnd.ServerStopped);
        Stream!.OnEnded(_end);
        // Another client may get a number that is closed, and who still uses it would send to that client.
        if (!isInUse && Stream.TryLetGo())
            Loop.Releases.Add(Fd, HowToRelease);
        HoldInKernel(_inKernelAtMost = 0);
        _state = ClientState.Free;
        Loop.Places.Return(_isAdmitted);
    }

    /// <summary>Everything is sent: FIN, then read what the client still sends until it closes.</summary>
    private void BeginLinger()
    {
        _state = ClientState.Lingering;
        ReportEnd(ClientEnd.Completed);
        SendFin();
    }

    private void SendFin()
    {
        var patienceMs = Loop.Options.LingerTimeoutMs;
        // A client that is only refused makes room for the next one that waits for its refusal.
        if (!_isAdmitted && Loop.Places.Waiting > 0)
            patienceMs = Math.Min(patienceMs, CrowdedLingerTimeoutMs);
        Loop.SetTimer(this, patienceMs);
        _isShuttingDown = true;
        _table.Calls.Make(this, OperationKind.ClientShutdown);
    }

    private void OnShutDown()
    {
        _isShuttingDown = false;
        if (_state == ClientState.Closing)
            FinishCloseIfIdle();
        else if (_readOperation == OperationKind.None)
            AwaitReadable();
    }

    /// <summary>What a Unix client sends may hold descriptors, whose last close a read would make here. So
    /// only its end is waited for; the releaser drops the rest.</summary>
    private void AwaitReadable()
    {
        if (_isUnix)
            Loop.Operations.PollForEndOfRead(Fd, Generation, Index);
        else
            Loop.Operations.PollReadable(Fd, Generation, Index);
        _readOperation = OperationKind.ClientReadable;
    }

    private void OnReadable(int result)
    {
        _readOperation = OperationKind.None;
        if (_state == ClientState.Closing)
        {
            FinishCloseIfIdle();
        }
        else if (IsInterrupted(result))
        {
            AwaitReadable();
        }
        else if (result < 0)
        {
            BeginClose(ClientEnd.Completed);
        }
        else if (_isUnix)
        {
            OnEndOfRead();
        }
        else
        {
            _readOperation = OperationKind.ClientRead;
            _table.Calls.Make(this, OperationKind.ClientRead);
        }
    }

    private void OnRead(int result)
    {
        _readOperation = OperationKind.None;
        _lingeredBytes += Math.Max(0, result);
        if (_state == ClientState.Closing)
        {
            FinishCloseIfIdle();
        }
        else if ((result > 0 || result is -Errno.Again or -Errno.Intr)
                 && _lingeredBytes < Loop.Options.MaxLingerBytes)
        {
            if (MayReadAgain(result))
                AwaitReadable();
        }
        else if (_isDraining && result >= 0 && (result > 0 || Loop.Options.KeepHalfClosed))
        {
            // It has said enough, or all, and still reads.
        }
        else if (result == 0)
        {
            OnEndOfRead();
        }
        else
        {
            BeginClose(ClientEnd.Completed);
        }
    }

    /// <summary>Beyond the bound, the timer ends it.</summary>
    private bool MayReadAgain(int result)
    {
        _fruitlessReads = (byte)(result > 0 ? 0 : _fruitlessReads + 1);
        return _fruitlessReads <= MostFruitless;
    }

    /// <summary>The client sends no more.</summary>
    private void OnEndOfRead()
    {
        // The watch waits for the same end: it ends by itself, and needs no cancel.
        if (_isWatched && !Loop.Options.KeepHalfClosed)
            _state = ClientState.Closing;
        else
            BeginClose(ClientEnd.Completed);
    }

    /// <summary>Ends a client now: drops unsent bytes, cancels what is in flight, and closes after that has
    /// ended.</summary>
    private void BeginClose(ClientEnd end)
    {
        if (_state == ClientState.Closing)
            return;
        var isTold = _state == ClientState.Streaming && !HasCallInFlight && IsToldOfClose(end);
        _state = ClientState.Closing;
        ReportEnd(end);
        if (_sendOperation != OperationKind.None)
            Cancel(_sendOperation);
        if (_isNotifying)
            Cancel(OperationKind.ClientCloseNotify);
        if (_isWatched)
            Cancel(OperationKind.ClientWatch);
        if (_readOperation != OperationKind.None)
            Cancel(_readOperation);
        _ = _table.Calls.TryCancelCostly(this);
        if (HasCallInFlight || isTold)
            Loop.SetTimer(this, LeaveBehindAfterMs);
        if (isTold)
            NotifyClose();
        else
            FinishCloseIfIdle();
    }

    private void Cancel(OperationKind kind) => Loop.Operations.Cancel(kind, Generation, Index);

    private void FinishCloseIfIdle()
    {
        if (_state != ClientState.Closing || HasOperationInFlight)
            return;
        if (Stream!.TryLetGo())
            Free();
        else
            Loop.SetTimer(this, LeaveBehindAfterMs);
    }

    private void OnCloseTooLong()
    {
        if (_isWatched)
            Cancel(OperationKind.ClientWatch);
        _ = _table.Calls.TryCancelCostly(this);
        if (HasCallInFlight || !HasOperationInFlight)
            LeaveBehind();
    }

    /// <summary>The client is closing, and a call on its socket, or the check of it, does not
    /// return.</summary>
    private void LeaveBehind()
    {
        if (_isLeftBehind)
            return;
        _isLeftBehind = true;
        _table.OnLeftBehind();
        Stream!.OnEnded(_end);
    }

    private void ReportEnd(ClientEnd end)
    {
        if (_end != ClientEnd.None)
            return;
        _end = end;
        Stream!.OnClosed(end);
        // With a send in flight the count of its bytes is still to come.
        if (!IsSending)
            Stream.OnEnded(end);
    }
}
