namespace StreamingDaemon.Uring.Timers;

/// <summary>Wakes the loop; what is due, each turn looks for itself.</summary>
internal sealed class LoopAlarm : LoopTimer
{
    public bool IsSet => DeadlineMs != long.MaxValue;
}
