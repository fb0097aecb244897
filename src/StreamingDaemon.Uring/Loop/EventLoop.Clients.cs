using System.Buffers;
using System.Diagnostics;
using StreamingDaemon.Uring.Connections;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.IoUringConstants;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Loop;

// Clients: taking them in, their pending bytes, the one send in flight.
internal sealed unsafe partial class EventLoop
{
    private readonly List<ClientConnection> _clients = [];
    private readonly Stack<int> _freeClients = new();
    private readonly List<ClientConnection> _dirty = [];
    private int _clientCount;
    private int _admittedCount;

    private bool HasSlotFor(out HandoffAdmission admission)
    {
        admission = _admittedCount < _budget.MaxConnections
            ? HandoffAdmission.Admitted
            : HandoffAdmission.OverCapacity;
        return admission == HandoffAdmission.Admitted
            || _clientCount - _admittedCount < _budget.Refusals;
    }

    private void StartClient(int fd, byte[] data, int length, HandoffAdmission admission,
        long acceptedTimestamp)
    {
        if (!_freeClients.TryPop(out var index))
        {
            index = _clients.Count;
            _clients.Add(new ClientConnection(index));
        }

        // A token is a small packet that must not wait for the previous one's acknowledgement. A Unix socket
        // does not know the option, which is as good.
        _ = LinuxNative.SetSockOpt(fd, IpProtoTcp, TcpNoDelay, 1);
        // Whoever opened it may have asked for it: the last close would wait for the reader, in this thread,
        // or throw away what he has not read yet.
        _ = LinuxNative.SetNoLinger(fd);

        var client = _clients[index];
        Debug.Assert(client.State == ClientState.Free, "a slot in use was handed out");
        client.Fd = fd;
        client.State = ClientState.Streaming;
        client.IsAdmitted = admission != HandoffAdmission.OverCapacity;
        client.Stream = new ClientStream(this, client, data, length, admission, acceptedTimestamp);
        _clientCount++;
        if (client.IsAdmitted)
            _admittedCount++;
        _statistics.OnClientStarted(_admittedCount);
        ArmWatch(client);
        OnHandlerCalled();
        ThreadPool.UnsafeQueueUserWorkItem(client.Stream, preferLocal: false);
    }

    private void ArmWatch(ClientConnection client)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpPollAdd;
        entry->Fd = client.Fd;
        entry->OperationFlags = PollRdHup | PollHup | PollErr;
        // io_uring reports RDHUP whether it is asked for or not (IO_POLL_UNMASK), and for as long as it is
        // true. Where a FIN alone is not the end, only the edges are of use, which is what multishot gives.
        entry->Length = Options.KeepHalfClosed ? PollAddMulti : 0;
        entry->UserData = UserData.Pack(OperationKind.ClientWatch, client.Generation, client.Index);
        client.IsWatched = true;
    }

    private void OnOutboundWrite(in OutboundWrite write)
    {
        var client = write.Stream.Connection;
        if (!ReferenceEquals(client.Stream, write.Stream) || client.State != ClientState.Streaming)
        {
            // Its client is gone, and the slot may have a new one.
            if (write.Kind == OutboundKind.Abort && ReferenceEquals(client.Stream, write.Stream))
                BeginClose(client, ClientEnd.Aborted);
            ReturnRented(write.Buffer);
            return;
        }

        switch (write.Kind)
        {
            case OutboundKind.Data or OutboundKind.Piece when client.CompleteRequested:
                // Of a producer that the end of its stream has overtaken.
                ReturnRented(write.Buffer);
                break;
            case OutboundKind.Data or OutboundKind.Piece:
                client.IsInsideFlush = write.Kind == OutboundKind.Piece;
                _buffers.EnsureRoom(ref client.Pending, write.Length);
                client.Pending.Append(write.Buffer.AsSpan(0, write.Length));
                ReturnRented(write.Buffer);
                MarkDirty(client);
                break;
            case OutboundKind.Complete:
                client.CompleteRequested = true;
                MarkDirty(client);
                break;
            case OutboundKind.Abort:
                BeginClose(client, ClientEnd.Aborted);
                break;
        }
    }

    private static void ReturnRented(byte[]? buffer)
    {
        if (buffer is not null)
            ArrayPool<byte>.Shared.Return(buffer);
    }

    private void MarkDirty(ClientConnection client)
    {
        if (client.IsDirty || client.IsSending || client.IsStalled)
            return;
        client.IsDirty = true;
        _dirty.Add(client);
    }

    /// <summary>One send for all that a client got in this turn: what is ready together leaves
    /// together.</summary>
    private void StartDirtySends()
    {
        foreach (var client in _dirty)
        {
            client.IsDirty = false;
            if (client.State == ClientState.Streaming && !client.IsSending && !client.IsStalled)
                SendPendingOrEnd(client);
        }

        _dirty.Clear();
    }

    private void SendPendingOrEnd(ClientConnection client)
    {
        if (client.Pending.Length > 0)
        {
            Debug.Assert(client.Sending.Pointer is null, "two sends of one client would mix their bytes");
            client.Sending = client.Pending;
            client.Pending = default;
            client.Sent = 0;
            SubmitSend(client);
            ExpectProgress(client);
        }
        else if (client.CompleteRequested)
        {
            BeginDrain(client);
        }
    }

    private void SubmitSend(ClientConnection client)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpSend;
        entry->Fd = client.Fd;
        entry->Address = (ulong)(client.Sending.Pointer + client.Sent);
        entry->Length = (uint)(client.Sending.Length - client.Sent);
        entry->OperationFlags = MsgNoSignal;
        entry->UserData = UserData.Pack(OperationKind.ClientSend, client.Generation, client.Index);
        client.IsSending = true;
        _statistics.OnSendSubmitted();
    }

    private void OnSendCompleted(ClientConnection client, uint generation, int result)
    {
        if ((client.Generation & UserData.GenerationMask) != generation)
            return;
        client.IsSending = false;
        if (result > 0)
        {
            client.Sent += result;
            _statistics.OnBytesSent(result);
            client.Stream!.OnSent(result, ofProducer: !client.IsSendingKeepAlive);
        }

        if (client.State != ClientState.Streaming)
        {
            FinishCloseIfIdle(client);
            return;
        }

        if (result == -Errno.Again)
        {
            // Kernels before 6.x may answer so on O_NONBLOCK sockets; newer ones park the send themselves.
            SubmitWritablePoll(client);
        }
        else if (result is -Errno.NoBufs or -Errno.NoMem)
        {
            StallSend(client);
        }
        else if (IsInterrupted(result))
        {
            SubmitSend(client);
        }
        else if (result <= 0)
        {
            BeginClose(client, result is -Errno.Pipe or -Errno.ConnReset or -Errno.TimedOut
                ? ClientEnd.ClientGone
                : ClientEnd.SocketError);
        }
        else if (client.Sent < client.Sending.Length)
        {
            SubmitSend(client);
            ExpectProgress(client);
        }
        else
        {
            ReleaseSending(client);
            ExpectSilence(client);
            // Through the list: tokens that are in the Channel already join this send.
            if (client.Pending.Length > 0 || client.CompleteRequested)
                MarkDirty(client);
        }
    }

    /// <summary>Ended without having been done, and not by us: then the client would be closing.</summary>
    private static bool IsInterrupted(int result) => result is -Errno.Intr or -Errno.Canceled;

    private void SubmitWritablePoll(ClientConnection client)
    {
        var entry = _ring.NextEntry();
        entry->Opcode = OpPollAdd;
        entry->Fd = client.Fd;
        entry->OperationFlags = PollOut;
        entry->UserData = UserData.Pack(OperationKind.ClientWritable, client.Generation, client.Index);
        client.IsSending = true;
    }

    private void OnClientWritable(ClientConnection client, uint generation, int result)
    {
        if ((client.Generation & UserData.GenerationMask) != generation)
            return;
        client.IsSending = false;
        if (client.State != ClientState.Streaming)
            FinishCloseIfIdle(client);
        else if (result < 0 && !IsInterrupted(result))
            BeginClose(client, ClientEnd.SocketError);
        else
            SubmitSend(client);
    }

    private void OnClientWatch(ClientConnection client, uint generation, in CompletionEntry completion)
    {
        if ((client.Generation & UserData.GenerationMask) != generation)
            return;
        client.IsWatched = (completion.Flags & CqeMore) != 0;
        if (client.State != ClientState.Streaming)
            FinishCloseIfIdle(client);
        else if (IsInterrupted(completion.Result))
            ArmWatch(client);
        else if (completion.Result < 0)
            BeginClose(client, ClientEnd.SocketError);
        else if (!Options.KeepHalfClosed || (completion.Result & (PollHup | PollErr)) != 0)
            BeginClose(client, ClientEnd.ClientGone);
        else if (!client.IsWatched)
            ArmWatch(client);
    }
}
