using System.Diagnostics;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;
using StreamingDaemon.Uring.Threads;
using StreamingDaemon.Uring.Timers;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>Where a handoff is on its way. It only ever moves down this list.</summary>
internal enum HandoffState : byte
{
    /// <summary>The slot is on the free list.</summary>
    Free,

    /// <summary>Waits for its message, or for room to receive it.</summary>
    Open,

    /// <summary>Its time is up: what is here still counts, but nothing more is awaited.</summary>
    Expired,

    /// <summary>Shut down for reading, after a look that found nothing: the kernel refuses what its peer
    /// sends.</summary>
    Refusing,

    /// <summary>Ended while a look was in flight: waits for its completion.</summary>
    Closing,
}

/// <summary>What is known of a handoff's message.</summary>
[Flags]
internal enum HandoffMessage : byte
{
    None = 0,

    /// <summary>What came was only looked at.</summary>
    Unread = 1,

    /// <summary>A stream that is only looked at to its end (SO_PEEK_OFF): reading it would release surplus
    /// descriptors on the loop's thread.</summary>
    OnlyLooks = 2,

    /// <summary>More than one descriptor came.</summary>
    Surplus = 4,

    /// <summary>A descriptor was cut off, and no waiting brings it.</summary>
    CutOff = 8,

    /// <summary>It is longer than accepted.</summary>
    TooLong = 16,

    /// <summary>More descriptors came than a client's and one for data.</summary>
    TooMany = 32,

    /// <summary>It names data elsewhere, and has a place for its descriptor.</summary>
    WantsData = 64,
}

/// <summary>
/// One connection of the Apache module, from accept until its message is here. Loop-owned. At most one look
/// is in flight; the memory goes back only after its completion.
/// </summary>
internal sealed unsafe class HandoffConnection(int index, HandoffReceiver receiver) : LoopTimer
{
    /// <summary>After so many failures with room in our table, the table is not the cause.</summary>
    private const int MostTimesCut = 3;

    private readonly HandoffReceiver _receiver = receiver;
    private HandoffMessage _message;
    private JsonBoundary _boundary;

    /// <summary>How often its descriptor was cut off.</summary>
    private int _timesCut;

    /// <summary>Its receive area. Null while there is no memory for it.</summary>
    public HandoffMemory Memory;

    public int Index { get; } = index;

    /// <summary>Raised at each reuse; part of every operation's name, so that a late completion is
    /// known.</summary>
    public uint Generation { get; private set; }

    public HandoffState State { get; private set; }

    public int Fd { get; private set; } = -1;

    /// <summary>The client's descriptor, once it came; otherwise -1.</summary>
    public int ClientFd { get; private set; } = -1;

    /// <summary>The client's is a Unix socket. Set by the receiver.</summary>
    public bool IsUnixClient { get; set; }

    /// <summary>The descriptor of the data, if the message names data elsewhere and it came; otherwise
    /// -1.</summary>
    public int DataFd { get; private set; } = -1;

    /// <summary>Bytes of the message received so far.</summary>
    public int Received { get; private set; }

    public bool HasMemory => Memory.Pointer is not null;

    /// <summary>A look is in flight: the kernel points into the memory.</summary>
    public bool IsLooking { get; private set; }

    public long AcceptedTimestamp { get; private set; }

    /// <summary>Asked for again after our table was full or memory short, as the one that shows whether it
    /// still is: that is only looked at, and not waited for. Set by the receiver.</summary>
    public bool IsProbe { get; set; }

    /// <summary>Since when its peer is waited for. Set by the receiver.</summary>
    public long AskedMs { get; set; }

    // The links of the IdleHandoffList, set by it alone.
    public HandoffConnection? Older { get; set; }

    public HandoffConnection? Newer { get; set; }

    public bool IsListed { get; set; }

    /// <summary>It has not ended.</summary>
    public bool IsOpen => State is not (HandoffState.Free or HandoffState.Closing);

    public bool IsTooLong => Has(HandoffMessage.TooLong);

    public bool IsCutOff => Has(HandoffMessage.CutOff);

    public bool HasTooManyDescriptors => Has(HandoffMessage.TooMany);

    /// <summary>It has a place for the descriptor of data, and asks for it.</summary>
    public bool WantsData => Has(HandoffMessage.WantsData);

    /// <summary>The last look found that the descriptor had no room.</summary>
    public bool LacksDescriptor => ClientFd < 0 && Memory.IsCut;

    /// <summary>How to close it, once it has ended. What is in its message may be what waits, if that brought
    /// more than one descriptor, or a wrong one.</summary>
    public ReleaseKind ReleaseKind =>
        ClientFd >= 0 || Has(HandoffMessage.Surplus | HandoffMessage.CutOff) ? ReleaseKind.OddConnection
            : Has(HandoffMessage.Unread) ? ReleaseKind.ConnectionWithMessage : ReleaseKind.Connection;

    /// <summary>Who connected.</summary>
    public static HandoffPeer PeerOf(int fd) => LinuxNative.GetPeerCredentials(fd, out var peer) == 0
        ? new HandoffPeer(peer.UserId, peer.GroupId, peer.ProcessId)
        : new HandoffPeer(-1, -1, 0);

    public void Open(int fd)
    {
        Debug.Assert(State == HandoffState.Free, "a slot in use was handed out");
        State = HandoffState.Open;
        Fd = fd;
        AcceptedTimestamp = Stopwatch.GetTimestamp();
    }

    public void OnDeadline() => _receiver.Expire(this);

    /// <summary>Looks for the message, or for more of it.</summary>
    public void Look(Operations operations)
    {
        var header = Memory.Prepare(
            Received, Memory.Capacity - Received, ClientFd < 0 ? 1 : WantsData && DataFd < 0 ? 2 : 0);
        operations.ReceiveMessage(
            Fd, header, waits: State == HandoffState.Open && !IsProbe, Generation, Index);
        IsLooking = true;
    }

    /// <summary>The look has completed, or was lost with its ring.</summary>
    public void OnLooked() => IsLooking = false;

    /// <summary>Keeps the first descriptor of a message that was looked at, and the second if it was asked
    /// for.</summary>
    /// <param name="isStream">Of a SOCK_STREAM connection.</param>
    /// <param name="releases">Gets those that are not kept.</param>
    public void TakeDescriptors(bool isStream, ReleaseBatch releases)
    {
        _message |= HandoffMessage.Unread;
        var (first, second) = Memory.TakeDescriptors(out var arePassed);
        var isKept = arePassed && State != HandoffState.Closing;
        if (isKept && ClientFd < 0)
            (ClientFd, first) = (first, -1);
        if (isKept && second >= 0)
        {
            _message |= HandoffMessage.Surplus | (Memory.IsCut ? HandoffMessage.TooMany : 0);
            (DataFd, second) = (second, -1);
        }

        if (first >= 0)
            releases.Add(first, ReleaseKind.Odd);
        if (second >= 0)
            releases.Add(second, ReleaseKind.Odd);
        // A message that is looked at once more has its first descriptor cut off: that is here already.
        if (ClientFd >= 0 && Memory.IsCut && (Memory.HasDescriptor || isStream))
            _message |= HandoffMessage.Surplus;
    }

    /// <summary>Was the descriptor of the data cut off? There is room for it only in a look that is asked for
    /// by <see cref="AskForData"/>: in any other message, a second descriptor never enters this
    /// process.</summary>
    /// <param name="length">Bytes of the look.</param>
    public bool LacksData(int length) => ClientFd >= 0 && DataFd < 0 && Received == 0 && Memory.IsCut
        && DataDescriptor.IsNamedBy(new ReadOnlySpan<byte>(Memory.Data, length));

    public void AskForData() => _message |= HandoffMessage.WantsData;

    /// <summary>The data and its place belong to another owner from now on.</summary>
    public void GiveDataAway()
    {
        DataFd = -1;
        _message &= ~HandoffMessage.WantsData;
    }

    /// <summary>The kernel cuts a descriptor off if our table is full, and if a security module (SELinux,
    /// AppArmor) denies us the socket, which no waiting changes. A place that is free again tells them apart,
    /// but it may have become so just now.</summary>
    public bool MayHaveRoomLater() => ++_timesCut < MostTimesCut || FileNative.IsTableFull(Fd);

    public void MarkCutOff() => _message |= HandoffMessage.CutOff;

    /// <summary>Takes in what the last look found.</summary>
    /// <param name="length">Bytes of the look.</param>
    /// <param name="most">The longest message that is accepted.</param>
    /// <param name="isStream">Of a SOCK_STREAM connection.</param>
    /// <returns>Is the handoff whole?</returns>
    public bool Append(int length, int most, bool isStream)
    {
        if (isStream && length > 0)
            length = ReadOn(length);
        _boundary.Feed(new ReadOnlySpan<byte>(Memory.Data + Received, length));
        Received += length;
        if ((Memory.ReceivedFlags & MsgTrunc) != 0 || Received > most)
            _message |= HandoffMessage.TooLong;
        return !isStream || length == 0 || IsTooLong || _boundary.IsComplete;
    }

    /// <summary>Nothing more is waited for.</summary>
    public void MarkExpired() => Advance(HandoffState.Expired);

    /// <summary>
    /// Nothing is there, but a message may come between this look and the close, and the module would count
    /// it as received. After this call the kernel refuses every send with EPIPE (unix_stream_sendmsg,
    /// unix_dgram_sendmsg; unix(7) does not say it). The module then still has its client and answers it. One
    /// more look finds what came before.
    /// </summary>
    public void RefuseMore()
    {
        _ = LinuxNative.Shutdown(Fd, ShutRd);
        Advance(HandoffState.Refusing);
    }

    public void MarkClosing()
    {
        Debug.Assert(IsOpen, "a handoff ended twice");
        Advance(HandoffState.Closing);
    }

    /// <summary>The client's descriptor belongs to another owner from now on.</summary>
    public void GiveClientAway() => ClientFd = -1;

    /// <summary>Readies the slot for the next handoff and returns everything it had.</summary>
    public void Reset()
    {
        Debug.Assert(!IsLooking, "the kernel still points into this slot's memory");
        State = HandoffState.Free;
        Fd = ClientFd = DataFd = -1;
        Received = _timesCut = 0;
        _message = HandoffMessage.None;
        _boundary = default;
        Generation++;
    }

    private bool Has(HandoffMessage any) => (_message & any) != 0;

    private void Advance(HandoffState state)
    {
        if (state > State)
            State = state;
    }

    /// <summary>Takes from a stream what was looked at, if no surplus descriptor came with it.</summary>
    /// <returns>The bytes of the look.</returns>
    private int ReadOn(int length)
    {
        if (Has(HandoffMessage.OnlyLooks))
            return length;
        if (Memory.IsCut)
        {
            // Taking it here would release them here. The next look begins behind it (socket(7)).
            if (LinuxNative.SetSockOpt(Fd, SolSocket, SoPeekOff, length) == 0)
                _message |= HandoffMessage.OnlyLooks;
            return length;
        }

        _message &= ~HandoffMessage.Unread;
        var taken = LinuxNative.Recv(Fd, Memory.Data + Received, length, MsgDontWait);
        Debug.Assert(taken == length, "somebody else reads this stream");
        return Math.Max(0, taken);
    }
}
