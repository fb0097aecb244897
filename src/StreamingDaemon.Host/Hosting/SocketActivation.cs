using System.Globalization;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Hosting;

/// <summary>
/// Takes the listening socket that the service manager passes, as in sd_listen_fds(3). LISTEN_PID must be
/// this process. LISTEN_FDS is the number of sockets, from descriptor 3 on; LISTEN_FDNAMES has their names.
/// </summary>
internal static class SocketActivation
{
    /// <summary>SD_LISTEN_FDS_START.</summary>
    private const int FirstDescriptor = 3;

    /// <summary>FileDescriptorName= of the daemon's socket; needed only if several are passed.</summary>
    private const string Name = "handoff";

    /// <summary>Reads the variables and removes them, so that a child process does not use the socket too.
    /// </summary>
    /// <returns>The descriptor, or -1 if none was passed to this process.</returns>
    /// <exception cref="HandoffServerException">Several were passed, and none has the daemon's name.
    /// </exception>
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
                $"LISTEN_FDS: {count} sockets were passed and none is called {Name}. Set "
                + $"FileDescriptorName={Name} in the daemon's socket unit");
    }

    private static int Number(string variable) =>
        int.TryParse(Environment.GetEnvironmentVariable(variable), NumberStyles.None,
            CultureInfo.InvariantCulture, out var number) ? number : 0;
}
