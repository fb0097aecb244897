using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring.Clients;

// The end of a client whose bytes the kernel encrypts (kernel TLS): close_notify goes before FIN.
internal sealed partial class ClientConnection
{
    /// <summary>Every byte is sent, and close_notify is next.</summary>
    private bool _isAllSent;

    /// <summary>close_notify is being sent.</summary>
    private bool _isNotifying;

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
        // A send into a full buffer returns before its last record is in TCP's queue; the kernel keeps the
        // rest. FIN would drop it. If a good part of the buffer is free, the rest and this alert fit.
        if (LinuxNative.IsWritable(Fd))
            NotifyClose();
        else
            AwaitWritable();
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
        else
            BeginLinger();
    }

    /// <summary>We end it early: it is told once, if its socket takes that now.</summary>
    private bool IsToldOfClose(ClientEnd end) =>
        end is ClientEnd.Aborted or ClientEnd.SlowClient or ClientEnd.ServerStopped && Stream!.IsTls;
}
