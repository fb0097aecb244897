namespace StreamingDaemon.Host.Runtime;

/// <summary>For writes that may block for good, such as those to a pipe that nobody reads.</summary>
internal static class RunWithTimeout
{
    private static readonly object s_gate = new();
    private static Job? s_next;
    private static bool s_spareWaits;

    /// <summary>Makes a thread now, for a time when the system gives none.</summary>
    /// <exception cref="Uring.HandoffServerException">The system gives no thread.</exception>
    public static void Prepare() => PreparedThread.Start("last words", RunSpare);

    /// <summary>Runs the action on another thread, and leaves it behind if it takes too long.</summary>
    public static void Invoke(Action action, TimeSpan patience)
    {
        var job = new Job(action);
        if (PreparedThread.TryStart("last words", job.Run) || TryGiveToSpare(job))
            job.Wait(patience);
        else
            job.Run(); // The lack of threads may be what there is to say.
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
                // A full disk, or a descriptor that takes no writes: there is nowhere left to say so.
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
