namespace StreamingDaemon.Host.Runtime;

/// <summary>Runs writes that may block for ever, for example to a pipe that nobody reads.</summary>
internal static class RunWithTimeout
{
    private static readonly object s_gate = new();
    private static Job? s_next;
    private static bool s_spareWaits;

    /// <summary>Starts a spare thread now, because the system may refuse one later.</summary>
    /// <exception cref="Uring.HandoffServerException">The system refuses a thread.</exception>
    public static void Prepare() => PreparedThread.Start("last words", RunSpare);

    /// <summary>Runs the action on another thread and waits for it. If it takes longer than
    /// <paramref name="patience"/>, returns and leaves the thread behind.</summary>
    public static void Invoke(Action action, TimeSpan patience)
    {
        var job = new Job(action);
        if (PreparedThread.TryStart("last words", job.Run) || TryGiveToSpare(job))
            job.Wait(patience);
        else
            job.Run(); // Do not skip it: the message may be about the lack of threads.
    }

    private static bool TryGiveToSpare(Job job)
    {
        lock (s_gate)
        {
            if (!s_spareWaits)
                return false;
            s_spareWaits = false;
            s_next = job;
            Monitor.Pulse(s_gate);
            return true;
        }
    }

    private static void RunSpare()
    {
        while (true)
        {
            Job job;
            lock (s_gate)
            {
                s_spareWaits = true;
                while (s_next is null)
                    Monitor.Wait(s_gate);
                job = s_next;
                s_next = null;
            }

            job.Run();
        }
    }

    private sealed class Job(Action action)
    {
        private bool _done;

        public void Run()
        {
            try
            {
                action();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                // The disk is full, or the descriptor is not writable: there is nowhere to report it.
            }

            lock (this)
            {
                _done = true;
                Monitor.PulseAll(this);
            }
        }

        public void Wait(TimeSpan patience)
        {
            var deadline = Environment.TickCount64 + (long)patience.TotalMilliseconds;
            lock (this)
            {
                while (!_done && deadline - Environment.TickCount64 is > 0 and var left)
                    Monitor.Wait(this, TimeSpan.FromMilliseconds(left));
            }
        }
    }
}
