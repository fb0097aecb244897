namespace StreamingDaemon.Host.Hosting;

/// <summary>For writes that may block for good, such as those to a pipe that nobody reads.</summary>
internal static class Bounded
{
    /// <summary>Runs the action on a thread of its own, and leaves it behind where it takes too
    /// long.</summary>
    public static void Run(Action action, TimeSpan patience)
    {
        var thread = new Thread(() => Try(action)) { IsBackground = true };
        try
        {
            thread.Start();
        }
        catch (Exception e) when (e is OutOfMemoryException or ThreadStartException)
        {
            // The system gives no further thread, which may be what there is to say.
            Try(action);
            return;
        }

        thread.Join(patience);
    }

    private static void Try(Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A full disk, or a descriptor that takes no writes: there is nowhere left to say so.
        }
    }
}
