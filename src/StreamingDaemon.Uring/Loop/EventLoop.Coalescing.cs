using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Shared;

namespace StreamingDaemon.Uring.Loop;

// Coalescing, where it is asked for: a client that was sent something a moment ago waits for the end of the
// window, one window for all of them. Whoever was silent for longer is sent at once, so that a slow
// upstream's tokens never wait, and neither does the end of a stream.
internal sealed partial class EventLoop
{
    private readonly List<ClientConnection> _held = [];

    /// <summary>Not in the wheel, whose ticks are longer than a window.</summary>
    private long _windowEndsMs = long.MaxValue;

    private bool MayHold(ClientConnection client) =>
        _loop.Options.CoalesceMs > 0
        && _loop.NowMs - client.LastSendMs < _loop.Options.CoalesceMs
        && client.Stream!.EndRequested == StreamEndRequest.None;

    private void Hold(ClientConnection client)
    {
        if (client.IsDirty)
            return;
        client.IsDirty = true;
        _held.Add(client);
        _windowEndsMs = Math.Min(_windowEndsMs, _loop.NowMs + _loop.Options.CoalesceMs);
    }

    private void EndWindow()
    {
        if (_loop.NowMs < _windowEndsMs)
            return;
        _windowEndsMs = long.MaxValue;
        _dirty.AddRange(_held);
        _held.Clear();
    }

    /// <summary>How long the loop may sleep, in milliseconds; negative is for ever.</summary>
    private int SleepMs()
    {
        var now = LoopContext.ClockMs();
        var timerMs = _loop.Timers.WaitMs(now);
        if (_windowEndsMs == long.MaxValue)
            return timerMs;
        var windowMs = (int)Math.Max(0, _windowEndsMs - now);
        return timerMs < 0 ? windowMs : Math.Min(timerMs, windowMs);
    }
}
