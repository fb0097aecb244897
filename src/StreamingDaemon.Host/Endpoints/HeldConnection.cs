using System.Net.Sockets;

namespace StreamingDaemon.Host.Endpoints;

/// <summary>A connection that <see cref="ProbeGate"/> holds until the head of a request is complete. It only
/// peeks at the bytes; Kestrel reads them. Only the gate's thread calls it. Nothing here blocks.</summary>
internal sealed class HeldConnection(Socket socket, long arrival, long nowMs) : IDisposable
{
    /// <summary>The largest head accepted; a larger one closes the connection.</summary>
    public const int MaxHeadBytes = 8 * 1024;

    /// <summary>How long the head may take, from the accept.</summary>
    private const int HeadMs = 5_000;

    /// <summary>Pause after a look that found nothing new, although poll(2) reported something: behind an
    /// urgent byte (MSG_OOB) the kernel shows no more, and reports it for ever.</summary>
    private const int PauseMs = 100;

    private int _seen;
    private long _pausedUntilMs;

    public Socket Socket { get; } = socket;

    /// <summary>Its number in the order of the accepts.</summary>
    public long Arrival { get; } = arrival;

    public long ArrivedMs { get; } = nowMs;

    public long DeadlineMs => IsWhole ? long.MaxValue : ArrivedMs + HeadMs;

    /// <summary>True once the head is complete.</summary>
    public bool IsWhole { get; private set; }

    public bool IsClosed { get; private set; }

    /// <summary>When the gate must look again.</summary>
    public long DueMs => Math.Min(DeadlineMs, _pausedUntilMs > 0 ? _pausedUntilMs : long.MaxValue);

    /// <summary>The events to ask poll(2) for.</summary>
    public short Events => IsWhole ? (short)0
        : _pausedUntilMs > 0 ? PollSet.PeerEnded : (short)(PollSet.In | PollSet.PeerEnded);

    /// <summary>Handles the events from poll(2), and closes the connection at its deadline.</summary>
    /// <param name="events">The events that poll(2) reported.</param>
    /// <param name="room">Scratch space of at least <see cref="MaxHeadBytes"/>.</param>
    /// <param name="nowMs">Now, as <see cref="Environment.TickCount64"/>.</param>
    public void Look(short events, Span<byte> room, long nowMs)
    {
        var before = _seen;
        if (nowMs >= _pausedUntilMs)
            _pausedUntilMs = 0;
        LookFor(events, room, nowMs);
        if (events != 0 && !IsWhole && _seen == before)
            _pausedUntilMs = nowMs + PauseMs;
    }

    /// <summary>The same without asking poll(2): more may have arrived since.</summary>
    public void LookAgain(Span<byte> room, long nowMs) => LookFor(PollSet.In, room, nowMs);

    private void LookFor(short events, Span<byte> room, long nowMs)
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

        _seen = count;
        ReadOnlySpan<byte> seen = room[..count];
        IsWhole = HasWholeHead(seen);
        if (IsWhole)
            WakeFrom(1);
        else if (hasEnded || count == MaxHeadBytes || !MayBeginRequest(seen))
            IsClosed = true;
        else
            // The bytes seen so far stay in the socket, and would end every further poll(2) at once.
            WakeFrom(count + 1);
    }

    private void WakeFrom(int bytes) =>
        Socket.SetSocketOption(SocketOptionLevel.Socket, SocketOptionName.ReceiveLowWater, bytes);

    /// <summary>Servers skip empty lines before a request, and may accept a bare LF as a line end (RFC 9112,
    /// section 2.2). This check accepts both; Kestrel decides whether the request is valid.</summary>
    private static bool HasWholeHead(ReadOnlySpan<byte> seen)
    {
        var head = seen.TrimStart("\r\n"u8);
        return head.IndexOf("\n\r\n"u8) >= 0 || head.IndexOf("\n\n"u8) >= 0;
    }

    /// <summary>False for TLS or another protocol: waiting for more bytes would not help.</summary>
    private static bool MayBeginRequest(ReadOnlySpan<byte> seen)
    {
        var head = seen.TrimStart("\r\n"u8);
        return head.IsEmpty || char.IsAsciiLetter((char)head[0]);
    }

    /// <summary>Marks it closed; the gate removes it at the end of its turn.</summary>
    public void Close() => IsClosed = true;

    public void Dispose() => Socket.Dispose();
}
