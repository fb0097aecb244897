namespace StreamingDaemon.Uring.Threads;

/// <summary>The threads that all loops of a server share.</summary>
internal sealed class ServerThreads
{
    /// <exception cref="HandoffServerException">The system refuses another thread.</exception>
    public ServerThreads(HandoffServerOptions options)
    {
        Monitor = new HangMonitor(options);
        try
        {
            Spares = new SpareThreads(options);
            OddReleaser = new DescriptorReleaser("odd releases", null, options, Spares);
            Releaser = new DescriptorReleaser("releases", OddReleaser, options, Spares);
            Data = new HandoffDataThread(options, Spares);
            Paths = new PathThread(options);
        }
        catch
        {
            End();
            throw;
        }

        Monitor.Add(Ends);
        Monitor.Add(Releaser);
        Monitor.Add(Data);
        Monitor.AddOdd(OddReleaser);
    }

    public HangMonitor Monitor { get; }

    /// <summary>Take over from threads that hang if the system gives no other.</summary>
    public SpareThreads Spares { get; }

    /// <summary>Streams whose producers are to be told of the end.</summary>
    public StreamEnds Ends { get; } = new();

    /// <summary>Closes sockets, and the module's connections.</summary>
    public DescriptorReleaser Releaser { get; }

    /// <summary>Closes what may wait: non-sockets (a file system may hang in each close of its files),
    /// lingering sockets, unread messages. No other close waits behind these.</summary>
    public DescriptorReleaser OddReleaser { get; }

    /// <summary>Gives slow sockets to the kernel when the process ends.</summary>
    public ExitReleases ExitReleases { get; } = new();

    /// <summary>Reads handoff data that came in descriptors.</summary>
    public HandoffDataThread Data { get; }

    /// <summary>Makes the calls on the socket's path.</summary>
    public PathThread Paths { get; }

    /// <summary>Each thread ends when it has done what was posted.</summary>
    public void End()
    {
        Monitor.End();
        Ends.Close();
        Data?.End();
        Paths?.End();
        if (Releaser is not null)
            Releaser.End();
        else
            OddReleaser?.End();
        Spares?.End();
    }
}
