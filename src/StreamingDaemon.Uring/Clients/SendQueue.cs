using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Clients;

/// <summary>
/// Clients that have something to be sent at the end of this turn: what is ready together leaves together.
/// If coalescing is asked for, a client that was sent something a moment ago waits for the end of the window,
/// one window for all of them. One that was silent for longer is sent at once, so that a slow upstream's
/// tokens never wait, and neither does the end of a stream. Loop-owned.
/// </summary>
internal sealed class SendQueue(LoopContext loop)
{
    private readonly List<ClientConnection> _ready = [];
    private readonly List<ClientConnection> _held = [];

    /// <summary>Not in the wheel, whose ticks are longer than a window.</summary>
    private long _windowEndsMs = long.MaxValue;

    /// <summary>Is nobody to be sent anything in this turn?</summary>
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

    /// <summary>One send for all that each client got in this turn.</summary>
    public void StartSends()
    {
        // A send may end at once, and its client be in the list again: that is for the next turn.
        var count = _ready.Count;
        for (var i = 0; i < count; i++)
        {
            var client = _ready[i];
            // Twice in the list if it was held and could not be any longer.
            if (!client.IsQueued)
                continue;
            client.IsQueued = false;
            client.SendQueued();
        }

        _ready.RemoveRange(0, count);
    }

    /// <summary>Once a turn: those that were held are ready, if their window is over.</summary>
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
