using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Clients;

// The one send in flight: its bytes, how it continues, and whether the client takes any.
internal sealed unsafe partial class ClientConnection
{
    /// <summary>Longer ago than any window. Not 0: the clock begins when the machine does.</summary>
    private const long NeverSent = long.MinValue / 2;

    /// <summary>Longest pause between two looks at a client that is behind.</summary>
    private const int LongestProbeMs = 1_000;

    /// <summary>Pause before repeating a send that the kernel had no memory for.</summary>
    private const int StallMs = 20;

    /// <summary>Calls in a row that may find nothing although the socket was ready; more would be a spin.
    /// Another holder can keep it so: with errors that nobody takes from its error queue (SO_TIMESTAMPING,
    /// MSG_ZEROCOPY), or a BPF program that sends elsewhere.</summary>
    private const int MostFruitless = 16;

    private byte _fruitlessSends;

    /// <summary>Bytes that the kernel reads from; <see cref="_sent"/> of them are gone.</summary>
    private NativeBuffer _sending;
    private int _sent;

    /// <summary>What is in flight: the send, the wait until one is possible, or nothing.</summary>
    private OperationKind _sendOperation;

    /// <summary>The bytes in <see cref="_sending"/> are the loop's own, and not the producer's.</summary>
    private bool _isSendingKeepAlive;

    /// <summary>The last bytes sent end inside a flush: nothing may come between.</summary>
    private bool _isInsideFlush;

    /// <summary>The kernel had no memory for the send, or took nothing again and again: it is repeated when
    /// the timer fires.</summary>
    private bool _isStalled;

    /// <summary>When the client last took bytes, while some wait for it: ms of the loop's clock.</summary>
    private long _progressMs;

    /// <summary>Bytes the kernel still held for it when last asked (SIOCOUTQ), or -1.</summary>
    private int _unsentInKernel = -1;

    /// <summary>When the last send was submitted, ms of the loop's clock.</summary>
    public long LastSendMs { get; private set; } = NeverSent;

    /// <summary>The mark of <see cref="SendQueue"/>, which alone sets it: the client is in one of its
    /// lists.</summary>
    public bool IsQueued { get; set; }

    /// <summary>What the send in flight is to send.</summary>
    public byte* UnsentBytes => _sending.Pointer + _sent;

    public int SendLength => _sendLength;

    private int UnsentLength => _sending.Length - _sent;

    private bool IsSending => _sendOperation != OperationKind.None || _isNotifying;

    private int ProbeMs => Math.Min(LongestProbeMs, Math.Max(1, Loop.Options.WriteTimeoutMs / 4));

    /// <summary>Not before the first flush was sent: the timer of the check may still run.</summary>
    private bool MayKeepAlive =>
        _table.KeepAlive.Length > 0 && LastSendMs != NeverSent && Stream!.AllowsKeepAlive;

    /// <summary>Its turn has come.</summary>
    public void SendQueued()
    {
        if (_state == ClientState.Streaming && !IsSending && !_isStalled)
            SendPendingOrEnd();
    }

    /// <summary>Sends what its outbox holds at the end of the turn.</summary>
    private void QueueSend()
    {
        if (!IsSending && !_isStalled)
            _table.Sends.Add(this);
    }

    private void SendPendingOrEnd()
    {
        Debug.Assert(_sending.Pointer is null, "two sends of one client would mix their bytes");
        ref var outbox = ref Stream!.Outbox;
        // Read before the outbox: by then it holds everything that an end follows.
        var endRequested = outbox.EndRequested;
        if (endRequested == StreamEndRequest.Abort)
        {
            // It came after the Channel was checked: unsent bytes are dropped all the same.
            BeginClose(ClientEnd.Aborted);
        }
        else if (outbox.TryTake(ref _sending, out _isInsideFlush))
        {
            _sent = 0;
            LastSendMs = Loop.NowMs;
            ExpectProgress();
            Send();
        }
        else if (endRequested != StreamEndRequest.None)
        {
            EndStream();
        }
    }

    private void Send()
    {
        if (_isAllSent)
        {
            NotifyClose();
            return;
        }

        _sendLength = UnsentLength;
        if (_isUnix && !HasRoomInKernel())
            return;
        _sendOperation = OperationKind.ClientSend;
        Loop.Statistics.OnSendSubmitted();
        _table.Calls.Make(this, OperationKind.ClientSend);
    }

    private void OnSent(int result)
    {
        _sendOperation = OperationKind.None;
        if (result > 0)
        {
            _sent += result;
            _fruitlessSends = 0;
            Loop.Statistics.OnBytesSent(result);
            Stream!.OnSent(result, ofProducer: !_isSendingKeepAlive);
        }

        if (_state != ClientState.Streaming)
        {
            FinishCloseIfIdle();
            return;
        }

        if (result <= 0)
        {
            OnSendFailed(result);
        }
        else if (UnsentLength > 0)
        {
            _hasMetFullBuffer = true;
            ExpectProgress();
            Send();
        }
        else
        {
            ReleaseSending();
            ExpectSilence();
            // Through the queue: tokens that come until the end of this turn join this send. None come after
            // an end.
            if (Stream!.Outbox.EndRequested != StreamEndRequest.None)
                SendPendingOrEnd();
            else if (Stream.Outbox.HasWork)
                QueueSend();
        }
    }

    private void OnSendFailed(int result)
    {
        if (result == -Errno.Again)
        {
            _hasMetFullBuffer = true;
            if (++_fruitlessSends <= MostFruitless)
                AwaitWritable();
            else
                Stall(ClientEnd.SlowClient);
        }
        else if (result is -Errno.NoBufs or -Errno.NoMem)
        {
            Stall(ClientEnd.SocketError);
        }
        else if (IsInterrupted(result))
        {
            Send();
        }
        else
        {
            BeginClose(result is -Errno.Pipe or -Errno.ConnReset or -Errno.TimedOut
                ? ClientEnd.ClientGone
                : ClientEnd.SocketError);
        }
    }

    private void AwaitWritable()
    {
        Loop.Operations.PollWritable(Fd, Generation, Index);
        _sendOperation = OperationKind.ClientWritable;
    }

    private void OnWritable(int result)
    {
        _sendOperation = OperationKind.None;
        if (_state != ClientState.Streaming)
            FinishCloseIfIdle();
        else if (result < 0 && !IsInterrupted(result))
            BeginClose(ClientEnd.SocketError);
        else
            Send();
    }

    /// <summary>A send was submitted: within the write timeout the client must take something.</summary>
    private void ExpectProgress()
    {
        _progressMs = Loop.NowMs;
        _unsentInKernel = -1;
        Loop.SetTimer(this, ProbeMs);
    }

    /// <summary>Everything was sent: the next thing is a token, or the keep-alive in its place.</summary>
    private void ExpectSilence()
    {
        if (MayKeepAlive)
            Loop.SetTimer(this, Loop.Options.KeepAliveIntervalMs);
        else
            TimerWheel.Clear(this);
    }

    private void OnSendDeadline()
    {
        if (_isStalled)
            SendAgain();
        else if (IsSending)
            ProbeProgress();
        else if (MayKeepAlive && !_isInsideFlush && !Stream!.Outbox.HasWork)
            SendKeepAlive();
    }

    /// <summary>
    /// A parked send does not show whether a client reads slowly: the kernel completes it only when a good
    /// part of the socket's buffer is free. The bytes left in that buffer do show it.
    /// </summary>
    private void ProbeProgress()
    {
        _table.Calls.RescueCostly(this);
        // Multipath TCP would take the socket's lock for the answer (mptcp_ioctl).
        var isAsked = LinuxNative.GetSockOpt(Fd, SolSocket, SoProtocol, out var protocol) == 0
            && protocol != IpProtoMpTcp;
        var unsent = isAsked ? LinuxNative.GetUnsentBytes(Fd) : -1;
        // The first look only takes the starting value, and starts the clock.
        if (_unsentInKernel < 0 || (unsent >= 0 && unsent < _unsentInKernel))
            _progressMs = Loop.NowMs;
        _unsentInKernel = Math.Max(0, unsent);
        var leftMs = _progressMs + Loop.Options.WriteTimeoutMs - Loop.NowMs;
        if (leftMs <= 0 || Loop.Options.Memory.IsExceeded)
            BeginClose(ClientEnd.SlowClient);
        else
            Loop.SetTimer(this, Math.Min(leftMs, ProbeMs));
    }

    /// <summary>Waits a moment, but no longer than for a client.</summary>
    private void Stall(ClientEnd end)
    {
        var longestMs = Loop.Options.Memory.IsExceeded ? ProbeMs : Loop.Options.WriteTimeoutMs;
        if (Loop.NowMs - _progressMs >= longestMs)
        {
            BeginClose(end);
            return;
        }

        _fruitlessSends = 0;
        _isStalled = true;
        Loop.SetTimer(this, StallMs);
    }

    private void SendAgain()
    {
        _isStalled = false;
        Loop.SetTimer(this, ProbeMs);
        Send();
    }

    private void SendKeepAlive()
    {
        Debug.Assert(_sending.Pointer is null, "two sends of one client would mix their bytes");
        _sending = _table.KeepAlive;
        _sent = 0;
        _isSendingKeepAlive = true;
        ExpectProgress();
        Send();
    }

    private void ReleaseSending()
    {
        if (_isSendingKeepAlive)
            _sending = default;
        else
            Loop.Buffers.Return(ref _sending);
        _isSendingKeepAlive = false;
    }
}
