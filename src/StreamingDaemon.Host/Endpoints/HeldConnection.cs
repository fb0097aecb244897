using System.Net.Sockets;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>A connection that <see cref="ProbeGate"/> holds until a request's head is whole. Its bytes are
/// looked at and left to Kestrel. By the gate's thread alone; nothing here waits.</summary>
internal sealed class HeldConnection(Socket socket, long arrival, long nowMs) : IDisposable
{
    /// <summary>The largest head that is waited for.</summary>
    public const int MaxHeadBytes = 8 * 1024;

    /// <summary>For the head, from the accept.</summary>
    private const int HeadMs = 5_000;

    public Socket Socket { get; } = socket;

    /// <summary>Its number in the order of the accepts.</summary>
    public long Arrival { get; } = arrival;

    public long ArrivedMs { get; } = nowMs;

    public long DeadlineMs => IsWhole ? long.MaxValue : ArrivedMs + HeadMs;

    /// <summary>Is the head here?</summary>
    public bool IsWhole { get; private set; }

    public bool IsClosed { get; private set; }

    /// <summary>What poll(2) is to report.</summary>
    public short Events => IsWhole ? (short)0 : (short)(PollSet.In | PollSet.PeerEnded);

    /// <summary>Does what poll(2) reported.</summary>
    /// <param name="events">Those.</param>
    /// <param name="room">For what is looked at.</param>
    /// <param name="nowMs">The time.</param>
    public void Look(short events, Span<byte> room, long nowMs)
    {
        try
        {
            if (IsWhole)
                IsClosed |= (events & PollSet.Gone) != 0;
            else if (events != 0)
                Peek(room, hasEnded: (events & (PollSet.PeerEnded | PollSet.Gone)) != 0);
            IsClosed |= nowMs >= DeadlineMs;
        }
        catch
        {
            IsClosed = true;
            throw;
        }
    }

    private void Peek(Span<byte> room, bool hasEnded)
    {
        var count = Socket.Receive(room[..MaxHeadBytes], SocketFlags.Peek, out var error);
        if (error == SocketError.WouldBlock)
            return;
        if (error != SocketError.Success || count == 0)
        {
            IsClosed = true;
            return;
        }

        ReadOnlySpan<byte> seen = room[..count];
        IsWhole = HasWholeHead(seen);
        if (IsWhole)
            WakeFrom(1);
        else if (hasEnded || count == MaxHeadBytes || !MayBeginRequest(seen))
            IsClosed = true;
        else
            // What was looked at is still there, and would end every further poll(2) at once.
            WakeFrom(count + 1);
    }

    private void WakeFrom(int bytes) =>
        Socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReceiveLowWater, bytes);

    /// <summary>A server passes over empty lines before a request (RFC 9112, 2.2), and may take a line feed
    /// alone for the end of a line: what that is worth is for Kestrel to say.</summary>
    private static bool HasWholeHead(ReadOnlySpan<byte> seen)
    {
        var head = seen.TrimStart("\r\n"u8);
        return head.IndexOf("\n\r\n"u8) >= 0 || head.IndexOf("\n\n"u8) >= 0;
    }

    /// <summary>False for TLS, or some other protocol: more of it makes it no clearer.</summary>
    private static bool MayBeginRequest(ReadOnlySpan<byte> seen)
    {
        var head = seen.TrimStart("\r\n"u8);
        return head.IsEmpty || char.IsAsciiLetter((char)head[0]);
    }

    /// <summary>It is removed at the end of the gate's turn.</summary>
    public void Close() => IsClosed = true;

    public void Dispose() => Socket.Dispose();
}
