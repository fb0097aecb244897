using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring.Clients;

// The end of a client whose bytes the kernel encrypts (kernel TLS): close_notify goes before FIN.
internal sealed partial class ClientConnection
{
    /// <summary>Pause between two looks at TCP's queue. The kernel's worker runs within it.</summary>
    private const int DrainProbeMs = 100;

    /// <summary>Every byte is sent, and close_notify is next.</summary>
    private bool _isAllSent;

    /// <summary>close_notify is being sent.</summary>
    private bool _isNotifying;

    /// <summary>A send has met a full buffer: records may wait in the kernel for room in TCP.</summary>
    private bool _hasMetFullBuffer;

    /// <summary>close_notify is sent, and FIN waits until TCP has sent everything.</summary>
    private bool _isDraining;

    /// <summary>Everything is sent: the end of our side follows.</summary>
    private void EndStream()
    {
        if (!Stream!.IsTls)
        {
            BeginLinger();
            return;
        }

        _isAllSent = true;
        ExpectProgress();
        if (LinuxNative.IsWritable(Fd))
        {
            NotifyClose();
        }
        else
        {
            _hasMetFullBuffer = true;
            AwaitWritable();
        }
    }

    private void NotifyClose()
    {
        _isNotifying = true;
        _table.Calls.Make(this, OperationKind.ClientCloseNotify);
    }

    private void OnCloseNotified(int result)
    {
        _isNotifying = false;
        if (_state != ClientState.Streaming)
            FinishCloseIfIdle();
        else if (result <= 0)
            OnSendFailed(result);
        else if (_hasMetFullBuffer || !LinuxNative.IsWritable(Fd))
            BeginDrain();
        else
            BeginLinger();
    }

    /// <summary>
    /// A send into a full buffer returns before its records are in TCP's queue. The kernel keeps them, and
    /// a worker of it moves them when there is room. FIN would drop them. How many there are nobody tells,
    /// and a poll finds room before that worker runs. So FIN waits until TCP's queue stays empty.
    /// </summary>
    private void BeginDrain()
    {
        _state = ClientState.Lingering;
        ReportEnd(ClientEnd.Completed);
        _isDraining = true;
        _progressMs = Loop.NowMs;
        _unsentInKernel = -1;
        Loop.SetTimer(this, DrainProbeMs);
        AwaitReadable();
    }

    private void ProbeDrain()
    {
        var unsent = Math.Max(0, LinuxNative.GetUnsentBytes(Fd));
        // One call on a socket at a time: another thread may still be making one.
        if (unsent == 0 && _unsentInKernel == 0 && CostlyCall is null)
        {
            _isDraining = false;
            SendFin();
            return;
        }

        // What the client takes makes room for the next record: the number may also stay or grow.
        if (unsent != _unsentInKernel)
            _progressMs = Loop.NowMs;
        _unsentInKernel = unsent;
        if (Loop.NowMs - _progressMs >= Loop.Options.WriteTimeoutMs)
            BeginClose(ClientEnd.Completed);
        else
            Loop.SetTimer(this, DrainProbeMs);
    }

    /// <summary>We end it early: it is told once, if its socket takes that now.</summary>
    private bool IsToldOfClose(ClientEnd end) =>
        end is ClientEnd.Aborted or ClientEnd.SlowClient or ClientEnd.ServerStopped && Stream!.IsTls;
}
