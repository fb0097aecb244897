using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
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
    private readonly List<Release> _releases = [];
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
        var patienceMs = !client.IsAdmitted && _places.Waiting > 0
            ? Math.Min(Options.LingerTimeoutMs, CrowdedLingerTimeoutMs)
            : Options.LingerTimeoutMs;
        _timers.Set(client, _nowMs + patienceMs);
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
        _operations.PollReadable(client.Fd, client.Generation, client.Index);
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
                 && client.LingeredBytes < Options.MaxLingerBytes)
            SubmitReadablePoll(client);
        else if (result == 0 && client.IsWatched && !Options.KeepHalfClosed)
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
            _operations.Cancel(client.SendingKind, client.Generation, client.Index);
        if (client.IsWatched)
            _operations.Cancel(OperationKind.ClientWatch, client.Generation, client.Index);
        if (client.IsReceiving)
            _operations.Cancel(client.ReceivingKind, client.Generation, client.Index);
        if (client.HasCallInFlight)
            _timers.Set(client, _nowMs + LeaveBehindAfterMs);
        FinishCloseIfIdle(client);
    }

    /// <summary>Has a descriptor that came from outside closed, off this thread.</summary>
    private void Release(int fd, ReleaseKind kind)
    {
        Options.Releasing?.Invoke(fd);
        _releases.Add(new Release(fd, kind));
    }

    /// <summary>Once a turn.</summary>
    private void HandOverReleases()
    {
        if (_releases.Count == 0)
            return;
        _threads.Releaser.Post(_releases);
        _threads.Monitor.Wake();
    }

    private void FinishCloseIfIdle(ClientConnection client)
    {
        if (client.State != ClientState.Closing || client.HasOperationInFlight)
            return;
        if (client.Stream!.TryLetGo())
            FreeClient(client);
        else
            _timers.Set(client, _nowMs + LeaveBehindAfterMs);
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
        _timers.Remove(client);
        _leftBehind -= client.IsLeftBehind ? 1 : 0;
        client.Stream!.OnEnded(client.End);
        Release(client.Fd, ReleaseKind.Client);
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
        _places.Return(client.IsAdmitted);
    }

    private void ApplyRequests()
    {
        if (Volatile.Read(ref _trimRequested) == 1)
        {
            Volatile.Write(ref _trimRequested, 0);
            _handoffMemory.Trim();
        }

        if (!RequestsPending())
            return;
        if (Volatile.Read(ref _drainRequested) == 1 && !_draining)
            BeginDrainingLoop();
        if (Volatile.Read(ref _stopRequested) == 1 && !_stopped)
        {
            _stopped = true;
            _withoutPlace.Clear();
            _places.Waiting = 0;
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
                Release(client.Fd, ReleaseKind.Client);
            client.State = ClientState.Free;
            _places.Return(client.IsAdmitted);
        }

        foreach (var handoff in _handoffs)
        {
            if (handoff.Fd >= 0)
                Release(handoff.Fd, ReleaseKind.Odd);
            if (handoff.ClientFd >= 0)
                Release(handoff.ClientFd, ReleaseKind.Odd);
        }

        _channel.Writer.TryComplete();
    }
}
