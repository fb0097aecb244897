using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Threads;

namespace StreamingDaemon.Uring;

/// <summary>
/// How the process's descriptor limit (RLIMIT_NOFILE, getrlimit(2)) is divided. A full table would cost
/// clients their answer, so everything that takes descriptors has its share.
/// </summary>
/// <param name="Limit">The soft limit.</param>
/// <param name="Own">Reserved for the process itself: descriptors open at start, and some to come.</param>
/// <param name="MaxConnections">Clients served at once: as requested, or as many as the limit leaves.</param>
/// <param name="Refusals">Clients at once that are only told that the limit is reached.</param>
/// <param name="Handoffs">Connections of the module at once, from accept until their client is here.</param>
/// <param name="Wanted">The limit that would hold everything requested.</param>
public sealed record DescriptorBudget(
    long Limit, int Own, int MaxConnections, int Refusals, int Handoffs, long Wanted)
{
    /// <summary>Descriptors that nothing has a share of.</summary>
    public int Spare { get; init; }

    /// <summary>Descriptors that may wait to be closed while handoffs are accepted.</summary>
    internal int Releases => Handoffs + Spare;

    // Enough to take a burst at once. The rest waits in the kernel's accept queue.
    private const int MostHandoffs = 8_192;
    private const int MostRefusals = 1_024;
    private const int Fewest = 4;

    /// <summary>A handoff's own connection, and the client's socket that comes with it.</summary>
    private const int DescriptorsPerHandoff = 2;

    /// <summary>Upstream connections, scrapes of the metrics, files that the runtime opens later, handoff
    /// data that is to be read.</summary>
    private const int Headroom = 128 + HandoffDataThread.MostHeld;

    /// <summary>The budget of this process, as it is now.</summary>
    public static DescriptorBudget Read(HandoffServerOptions options)
    {
        LinuxNative.GetDescriptorLimit(out var soft, out _);
        var open = Directory.GetFileSystemEntries("/proc/self/fd").Length;
        return Share(options, (long)Math.Min(soft, int.MaxValue), open);
    }

    internal static DescriptorBudget Share(HandoffServerOptions options, long limit, int open)
    {
        var asked = options.MaxConnections;
        // A multiplexing upstream carries about a hundred streams on one connection.
        var own = open + Headroom + (int)(Math.Min(asked, limit) / 64);
        var each = options.DescriptorsPerConnection;
        var free = Math.Max(0, limit - own);
        // In transit: refusals, and handoffs with two descriptors each.
        var least = (int)Math.Clamp(free / 16, Fewest, MostRefusals);
        var fitting = (free - least - (DescriptorsPerHandoff * least)) / each;
        var connections = (int)Math.Clamp(fitting, 1, asked);
        var rest = free - ((long)connections * each);
        var refusals = (int)Math.Clamp(rest / 4, least, MostRefusals);
        var handoffs = (int)Math.Clamp((rest - refusals) / DescriptorsPerHandoff, least, MostHandoffs);
        var wanted = open + Headroom + (asked / 64) + ((long)asked * each)
            + MostRefusals + (DescriptorsPerHandoff * MostRefusals);
        var spare = rest - refusals - ((long)handoffs * DescriptorsPerHandoff);
        return new DescriptorBudget(limit, own, connections, refusals, handoffs, wanted)
        {
            Spare = (int)Math.Max(0, spare),
        };
    }

    /// <summary>
    /// Grows the kernel's table of this process's descriptors to the budget, in one step. The kernel doubles
    /// a full table by itself. But in a process with threads, the thread that needs the place then waits for
    /// synchronize_rcu (expand_fdtable in Linux). That takes many milliseconds, for the loop and everything
    /// behind it.
    /// </summary>
    /// <param name="fd">Any open descriptor.</param>
    internal void Reserve(int fd)
    {
        var most = Math.Min(Limit, Wanted) - 1;
        var copy = FileNative.Fcntl(fd, FileNative.DuplicateCloseOnExec, (int)most);
        if (copy >= 0)
            _ = LinuxNative.Close(copy);
    }

    /// <summary>Does the limit hold even the minimum of a server?</summary>
    internal bool Suffices => Limit >= Own + Least;

    private static int Least => Fewest + Fewest + (Fewest * DescriptorsPerHandoff);

    /// <summary>The message to an operator if less than requested fits.</summary>
    public string Explain(int asked) =>
        (Suffices
            ? $"{Limit} descriptors hold {MaxConnections} connections beside {Own} of the daemon's own and "
                + $"{Refusals + (DescriptorsPerHandoff * Handoffs)} for refusals and handoffs"
            : $"{Limit} descriptors hold no connection: the daemon's own are {Own}, and {Least} more are the "
                + "least")
        + $"; {asked} were asked for. Raise it: ulimit -n {Wanted}; systemd: "
        + $"LimitNOFILE={Wanted}; Docker: --ulimit nofile={Wanted}. Or lower --max-connections";
}
