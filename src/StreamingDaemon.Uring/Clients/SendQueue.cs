using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Clients;

/// <summary>
/// Clients with something to send at the end of this turn: what is ready together leaves together. With
/// coalescing, a client that was just sent something waits for the end of the window, one window for all. A
/// client silent for longer is sent at once, so a slow upstream's tokens never wait. The end of a stream
/// never waits either. Loop-owned.
/// </summary>
internal sealed class SendQueue(LoopContext loop)
{
    private readonly List<ClientConnection> _ready = [];
    private readonly List<ClientConnection> _held = [];

    /// <summary>Not in the wheel, whose ticks are longer than a window.</summary>
    private long _windowEndsMs = long.MaxValue;

    /// <summary>Does this turn have nothing to send?</summary>
    public bool IsEmpty => _ready.Count == 0;

    public void Add(ClientConnection client)
    {
        if (!MayHold(client))
        {
            client.IsQueued = true;
            _ready.Add(client);
        }
        else if (!client.IsQueued)
        {
            client.IsQueued = true;
            _held.Add(client);
            _windowEndsMs = Math.Min(_windowEndsMs, loop.NowMs + loop.Options.CoalesceMs);
        }
    }

    /// <summary>One send per client, for all it got in this turn.</summary>
    public void StartSends()
    {
        // A send may complete at once, and put its client back into the list: that is for the next turn.
        var count = _ready.Count;
        for (var i = 0; i < count; i++)
        {
            var client = _ready[i];
            // Twice in the list if it was held and could not wait any longer.
            if (!client.IsQueued)
                continue;
            client.IsQueued = false;
            client.SendQueued();
        }

        _ready.RemoveRange(0, count);
    }

    /// <summary>Once a turn: held clients are ready, if their window is over.</summary>
    public void EndWindow()
    {
        if (loop.NowMs < _windowEndsMs)
            return;
        _windowEndsMs = long.MaxValue;
        _ready.AddRange(_held);
        _held.Clear();
    }

    /// <summary>How long the loop may sleep, in milliseconds; negative is for ever.</summary>
    public int SleepMs()
    {
        var now = LoopContext.ClockMs();
        var timerMs = loop.Timers.WaitMs(now);
        if (_windowEndsMs == long.MaxValue)
            return timerMs;
        var windowMs = (int)Math.Max(0, _windowEndsMs - now);
        return timerMs < 0 ? windowMs : Math.Min(timerMs, windowMs);
    }

    private bool MayHold(ClientConnection client) =>
        loop.Options.CoalesceMs > 0
        && loop.NowMs - client.LastSendMs < loop.Options.CoalesceMs
        && client.Stream!.Outbox.EndRequested == StreamEndRequest.None;
}
