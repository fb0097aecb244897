using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Loop;

// A client's one timer. While bytes wait for it: does it take any? While nothing does: the keep-alive.
// Setting it anew for each token is a store (1 ns was measured, with 10,000 clients); it moves in the wheel
// when its old place there comes round.
internal sealed unsafe partial class EventLoop
{
    /// <summary>Longest pause between two looks at a client that is behind.</summary>
    private const int LongestProbeMs = 1_000;

    /// <summary>What <see cref="HandoffServerOptions.KeepAlive"/> says, where the kernel can read it: the one
    /// copy that every client is sent.</summary>
    private NativeBuffer _keepAlive;

    private void CopyKeepAlive()
    {
        if (_loop.Options.KeepAlive.IsEmpty || _loop.Options.KeepAliveIntervalMs == 0)
            return;
        _keepAlive = _loop.Buffers.Rent(_loop.Options.KeepAlive.Length);
        _keepAlive.Append(_loop.Options.KeepAlive.Span);
    }

    /// <summary>Pause before a send that the kernel had no memory for.</summary>
    private const int StallMs = 20;

    private int ProbeMs => Math.Min(LongestProbeMs, Math.Max(1, _loop.Options.WriteTimeoutMs / 4));

    /// <summary>A send was submitted: within the write timeout the client must take something.</summary>
    private void ExpectProgress(ClientConnection client)
    {
        client.ProgressMs = _loop.NowMs;
        client.UnsentInKernel = -1;
        _loop.SetTimer(client, ProbeMs);
    }

    /// <summary>Not before the first flush was sent: the timer of the check may still run.</summary>
    private bool MayKeepAlive(ClientConnection client) => _keepAlive.Length > 0
        && client.LastSendMs != ClientConnection.NeverSent && client.Stream!.AllowsKeepAlive;

    /// <summary>Everything was sent: the next thing is a token, or the keep-alive in its place.</summary>
    private void ExpectSilence(ClientConnection client)
    {
        if (MayKeepAlive(client))
            _loop.SetTimer(client, _loop.Options.KeepAliveIntervalMs);
        else
            TimerWheel.Clear(client);
    }

    private void OnClientDeadline(ClientConnection client)
    {
        if (client.Stream?.AwaitsCheck == true)
            _loop.SetTimer(client, _loop.Options.HandoffTimeoutMs);
        else if (client.State != ClientState.Closing && client.Stream?.TryTimeOutCheck() == true)
            TimeOutCheck(client);
        else if (client.State == ClientState.Lingering)
            BeginClose(client, ClientEnd.Completed);
        else if (client.State == ClientState.Closing)
            OnCloseTooLong(client);
        else if (client.State != ClientState.Streaming)
            return;
        else if (client.IsStalled)
            SendAgain(client);
        else if (client.IsSending)
            ProbeProgress(client);
        else if (MayKeepAlive(client) && !client.IsInsideFlush && !client.Stream!.HasWork)
            SendKeepAlive(client);
    }

    private void OnCloseTooLong(ClientConnection client)
    {
        if (client.IsWatched)
            _loop.Operations.Cancel(OperationKind.ClientWatch, client.Generation, client.Index);
        if (client.HasCallInFlight || !client.HasOperationInFlight)
            LeaveBehind(client);
    }

    private void TimeOutCheck(ClientConnection client)
    {
        _loop.Handlers.ReportRejection(HandoffRejection.CheckTimedOut, client.Peer);
        BeginClose(client, ClientEnd.SocketError);
    }

    /// <summary>
    /// A parked send says nothing of a client that reads slowly: the kernel completes it only when a good
    /// part of the socket's buffer is free. What is left in that buffer does.
    /// </summary>
    private void ProbeProgress(ClientConnection client)
    {
        // Multipath TCP would take the socket's lock for the answer (mptcp_ioctl).
        var isAsked = LinuxNative.GetSockOpt(client.Fd, SolSocket, SoProtocol, out var protocol) == 0
            && protocol != IpProtoMpTcp;
        var unsent = isAsked ? LinuxNative.GetUnsentBytes(client.Fd) : -1;
        // The first look only learns from where it falls; it is not held against the client.
        if (client.UnsentInKernel < 0 || (unsent >= 0 && unsent < client.UnsentInKernel))
            client.ProgressMs = _loop.NowMs;
        client.UnsentInKernel = Math.Max(0, unsent);
        var leftMs = client.ProgressMs + _loop.Options.WriteTimeoutMs - _loop.NowMs;
        if (leftMs <= 0)
            BeginClose(client, ClientEnd.SlowClient);
        else
            _loop.SetTimer(client, Math.Min(leftMs, ProbeMs));
    }

    /// <summary>Waits for memory, but no longer than for a client.</summary>
    private void StallSend(ClientConnection client)
    {
        if (_loop.NowMs - client.ProgressMs >= _loop.Options.WriteTimeoutMs)
        {
            BeginClose(client, ClientEnd.SocketError);
            return;
        }

        client.IsStalled = true;
        _loop.SetTimer(client, StallMs);
    }

    private void SendAgain(ClientConnection client)
    {
        client.IsStalled = false;
        _loop.SetTimer(client, ProbeMs);
        SubmitSend(client);
    }

    private void SendKeepAlive(ClientConnection client)
    {
        Debug.Assert(client.Sending.Pointer is null, "two sends of one client would mix their bytes");
        client.Sending = _keepAlive;
        client.Sent = 0;
        client.IsSendingKeepAlive = true;
        ExpectProgress(client);
        SubmitSend(client);
    }

    private void ReleaseSending(ClientConnection client)
    {
        if (client.IsSendingKeepAlive)
            client.Sending = default;
        else
            _loop.Buffers.Return(ref client.Sending);
        client.IsSendingKeepAlive = false;
    }
}
