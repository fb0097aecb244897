using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>What <see cref="HangMonitor"/> watches.</summary>
internal interface IHangWatched
{
    /// <summary>Could one of its calls hang now? From any thread.</summary>
    bool IsBusy { get; }

    /// <summary>Does a call hang already? The next may be behind it, and is looked for sooner.</summary>
    bool Hurries => false;

    /// <summary>Checks whether a call hangs, and if so lets another thread go on. Only on the monitor's
    /// thread.</summary>
    void LookForHang();

    /// <summary>As <see cref="LookForHang"/>, more often, while it <see cref="Hurries"/>.</summary>
    void LookSooner()
    {
    }
}

/// <summary>Detects that a numbered call does not return, from several looks at its number.</summary>
internal sealed class HangWatch
{
    /// <summary>A collection or a busy host delays every thread, the watching one too: after it, two looks
    /// may be close together. A third comes a full pause later.</summary>
    private const int LooksUntilHung = 3;

    private long _call;
    private int _looks;

    /// <param name="call">Odd while a call is under way; each call has its own number.</param>
    /// <param name="threadId">The kernel's number of the thread that makes it; 0 if it need not
    /// sleep.</param>
    /// <returns>True if the same call was seen often enough, and its thread sleeps in the kernel.</returns>
    public bool Hangs(long call, int threadId)
    {
        if ((call & 1) == 0 || call != _call)
            (_call, _looks) = (call, 0);
        _looks++;
        return (call & 1) != 0 && _looks >= LooksUntilHung
            && (threadId == 0 || BlockedThread.Sleeps(threadId));
    }
}
