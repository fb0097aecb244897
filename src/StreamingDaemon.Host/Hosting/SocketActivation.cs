using System.Globalization;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// A listening socket that the service manager passes, as in sd_listen_fds(3): LISTEN_PID is us, LISTEN_FDS
/// says how many there are from descriptor 3 on, LISTEN_FDNAMES what they are called.
/// </summary>
internal static class SocketActivation
{
    /// <summary>SD_LISTEN_FDS_START.</summary>
    private const int FirstDescriptor = 3;

    /// <summary>FileDescriptorName= of ours, if there is more than one.</summary>
    private const string Name = "handoff";

    /// <summary>Reads the variables, and removes them: no child is to take the socket for its
    /// own.</summary>
    /// <returns>The descriptor, or -1 if none was passed to this process.</returns>
    /// <exception cref="HandoffServerException">More than one was, and none by our name.</exception>
    public static int Take()
    {
        var forUs = Number("LISTEN_PID") == Environment.ProcessId;
        var count = forUs ? Number("LISTEN_FDS") : 0;
        var names = Environment.GetEnvironmentVariable("LISTEN_FDNAMES")?.Split(':') ?? [];
        foreach (var variable in (ReadOnlySpan<string>)["LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"])
            Environment.SetEnvironmentVariable(variable, null);
        if (count <= 1)
            return count == 1 ? FirstDescriptor : -1;
        var ours = Array.IndexOf(names, Name);
        return ours >= 0 && ours < count
            ? FirstDescriptor + ours
            : throw new HandoffServerException(
                $"LISTEN_FDS: {count} sockets were passed and none is called {Name}. Say "
                + $"FileDescriptorName={Name} in the socket unit of the daemon's");
    }

    private static int Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None,
            CultureInfo.InvariantCulture, out var number) ? number : 0;
}
