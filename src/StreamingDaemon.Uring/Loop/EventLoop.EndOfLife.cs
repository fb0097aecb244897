using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Shared;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring.Loop;

// The end of a client, and of the loop. close(2) neither cancels nor completes what is in flight, and closing
// with unread bytes sends RST, which can eat the end of the answer: hence FIN, bounded linger, cancel, close.
internal sealed partial class EventLoop
{
    private const int ScratchBytes = 64 * 1024;

    /// <summary>What a refused client has to close where others wait for its slot.</summary>
    private const int CrowdedLingerTimeoutMs = 200;

    /// <summary>What lingering clients send is read to here, all of them at once: nobody looks at
    /// it.</summary>
    private NativeBuffer _scratch;
    /// <summary>A call on a closing client's socket that takes longer hangs: it waits for nobody but who
    /// holds the socket's lock.</summary>
    private const int LeaveBehindAfterMs = 100;

    private int _leftBehind;
    private bool _draining;
    private bool _stopped;

    /// <summary>Everything is sent: FIN, then read what the client still sends until it closes.</summary>
    private void BeginLinger(ClientConnection client)
    {
        client.State = ClientState.Lingering;
        ReportEnd(client, ClientEnd.Completed);
        // One who was only told that there is no room makes room for the next who waits to be told.
        var patienceMs = !client.IsAdmitted && _loop.Places.Waiting > 0
            ? Math.Min(_loop.Options.LingerTimeoutMs, CrowdedLingerTimeoutMs)
            : _loop.Options.LingerTimeoutMs;
        _loop.SetTimer(client, patienceMs);
        client.IsShuttingDown = true;
        CallClient(client, OperationKind.ClientShutdown);
    }

    private void OnShutDown(ClientConnection client)
    {
        client.IsShuttingDown = false;
        if (client.State == ClientState.Closing)
            FinishCloseIfIdle(client);
        else
            SubmitReadablePoll(client);
    }

    private void SubmitReadablePoll(ClientConnection client)
    {
        _loop.Operations.PollReadable(client.Fd, client.Generation, client.Index);
        client.IsReceiving = true;
        client.ReceivingKind = OperationKind.ClientReadable;
    }

    private void OnReadable(ClientConnection client, int result)
    {
        client.IsReceiving = false;
        if (client.State == ClientState.Closing)
        {
            FinishCloseIfIdle(client);
        }
        else if (IsInterrupted(result))
        {
            SubmitReadablePoll(client);
        }
        else if (result < 0)
        {
            BeginClose(client, ClientEnd.Completed);
        }
        else
        {
            client.IsReceiving = true;
            client.ReceivingKind = OperationKind.ClientRead;
            CallClient(client, OperationKind.ClientRead);
        }
    }

    private void OnRead(ClientConnection client, int result)
    {
        client.IsReceiving = false;
        client.LingeredBytes += Math.Max(0, result);
        if (client.State == ClientState.Closing)
            FinishCloseIfIdle(client);
        else if ((result > 0 || result is -Errno.Again or -Errno.Intr)
                 && client.LingeredBytes < _loop.Options.MaxLingerBytes)
            SubmitReadablePoll(client);
        else if (result == 0 && client.IsWatched && !_loop.Options.KeepHalfClosed)
            // The end that we read here is what the watch waits for: it ends by itself, and needs no cancel.
            client.State = ClientState.Closing;
        else
            BeginClose(client, ClientEnd.Completed);
    }

    /// <summary>Ends a client now: drops what is unsent, cancels what is in flight, closes when that has
    /// ended.</summary>
    private void BeginClose(ClientConnection client, ClientEnd end)
    {
        if (client.State == ClientState.Closing)
            return;
        client.State = ClientState.Closing;
        ReportEnd(client, end);
        if (client.IsSending)
            _loop.Operations.Cancel(client.SendingKind, client.Generation, client.Index);
        if (client.IsWatched)
            _loop.Operations.Cancel(OperationKind.ClientWatch, client.Generation, client.Index);
        if (client.IsReceiving)
            _loop.Operations.Cancel(client.ReceivingKind, client.Generation, client.Index);
        if (client.HasCallInFlight)
            _loop.SetTimer(client, LeaveBehindAfterMs);
        FinishCloseIfIdle(client);
    }

    private void FinishCloseIfIdle(ClientConnection client)
    {
        if (client.State != ClientState.Closing || client.HasOperationInFlight)
            return;
        if (client.Stream!.TryLetGo())
            FreeClient(client);
        else
            _loop.SetTimer(client, LeaveBehindAfterMs);
    }

    /// <summary>It is closing, and a call on its socket, or the check of it, does not return.</summary>
    private void LeaveBehind(ClientConnection client)
    {
        if (client.IsLeftBehind)
            return;
        client.IsLeftBehind = true;
        _leftBehind++;
        client.Stream!.OnEnded(client.End);
    }

    private static void ReportEnd(ClientConnection client, ClientEnd end)
    {
        if (client.End != ClientEnd.None)
            return;
        client.End = end;
        client.Stream!.OnClosed(end);
        // With a send in flight the count of its bytes is still to come.
        if (!client.IsSending)
            client.Stream.OnEnded(end);
    }

    private void FreeClient(ClientConnection client)
    {
        Debug.Assert(!client.HasOperationInFlight, "the kernel still points into this slot's memory");
        _loop.Timers.Remove(client);
        _leftBehind -= client.IsLeftBehind ? 1 : 0;
        client.Stream!.OnEnded(client.End);
        _loop.Releases.Add(client.Fd, ReleaseKind.Client);
        ReleaseSending(client);
        client.Fd = -1;
        client.State = ClientState.Free;
        client.Stream = null;
        client.IsInsideFlush = client.IsStalled = client.SeemsGone = client.IsLeftBehind = false;
        client.Sent = 0;
        client.LingeredBytes = 0;
        client.End = ClientEnd.None;
        client.Generation++;
        _clientCount--;
        _freeClients.Push(client.Index);
        Interlocked.Decrement(ref _load);
        _loop.Places.Return(client.IsAdmitted);
    }

    private void ApplyRequests()
    {
        var requests = _loop.Mailbox.TakeRequests();
        if ((requests & LoopRequests.Trim) != 0)
            _handoffMemory.Trim();
        if ((requests & LoopRequests.Drain) != 0 && !_draining)
            BeginDrainingLoop();
        if ((requests & LoopRequests.Stop) != 0 && !_stopped)
        {
            _stopped = true;
            _withoutPlace.Clear();
            _loop.Places.Waiting = 0;
            _unreceived.Clear();
            foreach (var handoff in _handoffs)
            {
                if (handoff.Fd >= 0 && !handoff.IsClosing)
                    RejectHandoff(handoff, HandoffRejection.ServerStopped);
            }

            foreach (var client in _clients)
            {
                if (client.State is ClientState.Streaming or ClientState.Lingering)
                    BeginClose(client, ClientEnd.ServerStopped);
            }
        }
    }

    private void BeginDrainingLoop()
    {
        // The path first: new connects fail at once, or reach a successor. Those that are queued are ours.
        _listener?.Unlink();
        _draining = true;
    }

    /// <summary>The ring is gone: tells the producers of whoever is left, and closes their sockets.</summary>
    private void AbandonAll()
    {
        foreach (var client in _clients)
        {
            if (client.State == ClientState.Free)
                continue;
            ReportEnd(client, ClientEnd.ServerStopped);
            client.Stream!.OnEnded(client.End);
            if (client.Stream.TryLetGo())
                _loop.Releases.Add(client.Fd, ReleaseKind.Client);
            client.State = ClientState.Free;
            _loop.Places.Return(client.IsAdmitted);
        }

        foreach (var handoff in _handoffs)
        {
            if (handoff.Fd >= 0)
                _loop.Releases.Add(handoff.Fd, ReleaseKind.Odd);
            if (handoff.ClientFd >= 0)
                _loop.Releases.Add(handoff.ClientFd, ReleaseKind.Odd);
        }

        _loop.Mailbox.Close();
    }
}
