using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Uring.Loop;

/// <summary>The threads that all loops of a server share.</summary>
internal sealed class ServerThreads
{
    /// <exception cref="HandoffServerException">The system gives no further thread.</exception>
    public ServerThreads(HandoffServerOptions options)
    {
        Monitor = new HangMonitor(options);
        try
        {
            Releaser = new DescriptorReleaser("releases", options);
            ForeignReleaser = new DescriptorReleaser("foreign releases", options);
        }
        catch
        {
            End();
            throw;
        }

        Monitor.Add(Releaser);
        Monitor.Add(ForeignReleaser);
    }

    public HangMonitor Monitor { get; }

    /// <summary>Closes sockets, and the module's connections.</summary>
    public DescriptorReleaser Releaser { get; }

    /// <summary>Closes what is no socket. A file system may hang in each close of its files, whoever else
    /// has them open: no socket waits behind them.</summary>
    public DescriptorReleaser ForeignReleaser { get; }

    /// <summary>Each ends when it has done what was posted.</summary>
    public void End()
    {
        Monitor.End();
        Releaser?.End();
        ForeignReleaser?.End();
    }
}
