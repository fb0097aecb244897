using System.Diagnostics;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using static StreamingDaemon.Uring.Interop.IoUringConstants;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Loop;

// Clients: taking them in, what their outboxes hold, the one send in flight.
internal sealed unsafe partial class EventLoop
{
    private readonly List<ClientConnection> _clients = [];
    private readonly Stack<int> _freeClients = new();
    private readonly List<ClientConnection> _dirty = [];
    private int _clientCount;

    private ClientConnection StartClient(in ReceivedClient received)
    {
        if (!_freeClients.TryPop(out var index))
        {
            index = _clients.Count;
            _clients.Add(new ClientConnection(index));
        }

        var client = _clients[index];
        Debug.Assert(client.State == ClientState.Free, "a slot in use was handed out");
        client.Fd = received.Fd;
        client.Peer = received.Peer;
        client.State = ClientState.Streaming;
        client.LastSendMs = ClientConnection.NeverSent;
        client.IsAdmitted = received.Admission != HandoffAdmission.OverCapacity;
        client.Stream = new ClientStream(_loop, client, received.Data, received.Admission,
            received.StreamBytes, received.AcceptedTimestamp);
        _clientCount++;
        ArmWatch(client);
        // Until its socket is checked, which somebody else may hold up.
        _loop.SetTimer(client, _loop.Options.HandoffTimeoutMs);
        _loop.Handlers.Begin(client.Stream);
        return client;
    }

    private void ArmWatch(ClientConnection client)
    {
        _loop.Operations.PollForEnd(client.Fd, _loop.Options.KeepHalfClosed, client.Generation, client.Index);
        client.IsWatched = true;
    }

    private void OnPosted(ClientStream stream)
    {
        stream.OnTaken();
        var client = stream.Connection;
        // Its client is gone, and the slot may have a new one.
        if (!ReferenceEquals(client.Stream, stream))
            return;
        if (stream.EndRequested == StreamEndRequest.Abort)
            BeginClose(client, ClientEnd.Aborted);
        else if (client.SeemsGone)
            BeginClose(client, ClientEnd.ClientGone);
        else if (client.State == ClientState.Streaming)
            MarkDirty(client);
        // The end of its check may be all that it waited for.
        FinishCloseIfIdle(client);
    }

    private void MarkDirty(ClientConnection client)
    {
        if (client.IsSending || client.IsStalled)
            return;
        if (MayHold(client))
        {
            Hold(client);
        }
        else
        {
            client.IsDirty = true;
            _dirty.Add(client);
        }
    }

    /// <summary>One send for all that a client got in this turn: what is ready together leaves
    /// together.</summary>
    private void StartDirtySends()
    {
        // A send may end at once, and its client be in the list again: that is for the next turn.
        var count = _dirty.Count;
        for (var i = 0; i < count; i++)
        {
            var client = _dirty[i];
            // Twice in the list where it was held and could not be any longer.
            if (!client.IsDirty)
                continue;
            client.IsDirty = false;
            if (client.State == ClientState.Streaming && !client.IsSending && !client.IsStalled)
                SendPendingOrEnd(client);
        }

        _dirty.RemoveRange(0, count);
    }

    private void SendPendingOrEnd(ClientConnection client)
    {
        Debug.Assert(client.Sending.Pointer is null, "two sends of one client would mix their bytes");
        var stream = client.Stream!;
        // Before the look into the outbox: what an end follows is in it by then.
        var endRequested = stream.EndRequested;
        if (endRequested == StreamEndRequest.Abort)
        {
            // It came after the Channel was looked at: what is unsent is dropped all the same.
            BeginClose(client, ClientEnd.Aborted);
        }
        else if (stream.TryTake(ref client.Sending, out client.IsInsideFlush))
        {
            client.Sent = 0;
            client.LastSendMs = _loop.NowMs;
            ExpectProgress(client);
            SubmitSend(client);
        }
        else if (endRequested != StreamEndRequest.None)
        {
            BeginLinger(client);
        }
    }

    private void SubmitSend(ClientConnection client)
    {
        client.IsSending = true;
        client.SendingKind = OperationKind.ClientSend;
        _loop.Statistics.OnSendSubmitted();
        CallClient(client, OperationKind.ClientSend);
    }

    private void OnSendCompleted(ClientConnection client, int result)
    {
        client.IsSending = false;
        if (result > 0)
        {
            client.Sent += result;
            _loop.Statistics.OnBytesSent(result);
            client.Stream!.OnSent(result, ofProducer: !client.IsSendingKeepAlive);
        }

        if (client.State != ClientState.Streaming)
        {
            FinishCloseIfIdle(client);
            return;
        }

        if (result == -Errno.Again)
        {
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
            ExpectProgress(client);
            SubmitSend(client);
        }
        else
        {
            ReleaseSending(client);
            ExpectSilence(client);
            // Through the list: tokens that come until the end of this turn join this send.
            if (client.Stream!.HasWork)
                MarkDirty(client);
        }
    }

    /// <summary>Ended without having been done, and not by us: then the client would be closing.</summary>
    private static bool IsInterrupted(int result) => result is -Errno.Intr or -Errno.Canceled;

    private void SubmitWritablePoll(ClientConnection client)
    {
        _loop.Operations.PollWritable(client.Fd, client.Generation, client.Index);
        client.IsSending = true;
        client.SendingKind = OperationKind.ClientWritable;
    }

    private void OnClientWritable(ClientConnection client, int result)
    {
        client.IsSending = false;
        if (client.State != ClientState.Streaming)
            FinishCloseIfIdle(client);
        else if (result < 0 && !IsInterrupted(result))
            BeginClose(client, ClientEnd.SocketError);
        else
            SubmitSend(client);
    }

    private void OnClientWatch(ClientConnection client, in CompletionEntry completion)
    {
        client.IsWatched = (completion.Flags & CqeMore) != 0;
        if (client.State != ClientState.Streaming)
            FinishCloseIfIdle(client);
        else if (IsInterrupted(completion.Result))
            ArmWatch(client);
        else if (completion.Result < 0)
            BeginClose(client, ClientEnd.SocketError);
        else if (!_loop.Options.KeepHalfClosed || (completion.Result & (PollHup | PollErr)) != 0)
            OnGone(client);
        else if (!client.IsWatched)
            ArmWatch(client);
    }

    private void OnGone(ClientConnection client)
    {
        // One that never was connected looks the same until it is checked.
        if (client.Stream!.IsToldWhenChecked())
            client.SeemsGone = true;
        else
            BeginClose(client, ClientEnd.ClientGone);
    }
}
