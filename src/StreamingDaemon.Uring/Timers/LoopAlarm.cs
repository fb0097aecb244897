namespace StreamingDaemon.Uring.Timers;

/// <summary>Wakes the loop; each turn checks by itself what is due.</summary>
internal sealed class LoopAlarm : LoopTimer
{
    public bool IsSet => DeadlineMs != long.MaxValue;
}
