using System.Globalization;
using StreamingDaemon.Bench.Interop;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>Resources a daemon has used so far: itself and its children, however many.</summary>
/// <param name="UserSeconds">CPU in user mode.</param>
/// <param name="SystemSeconds">CPU in the kernel.</param>
/// <param name="ResidentKb">Now.</param>
/// <param name="PeakKb">The highest since <see cref="ProcessTree.ResetPeak"/>; each process at its own
/// peak.</param>
/// <param name="Threads">Now.</param>
/// <param name="VoluntarySwitches">Of the living threads.</param>
/// <param name="InvoluntarySwitches">Of the living threads.</param>
/// <param name="MinorFaults">Of the living processes.</param>
internal readonly record struct ProcessUsage(double UserSeconds, double SystemSeconds, long ResidentKb,
    long PeakKb, int Threads, long VoluntarySwitches, long InvoluntarySwitches, long MinorFaults)
{
    public double CpuSeconds => UserSeconds + SystemSeconds;
}

/// <summary>A process that we started, with its children, read from /proc.</summary>
internal sealed class ProcessTree(int root)
{
    public int Root => root;

    /// <summary>The root and its living descendants.</summary>
    public IReadOnlyList<int> Pids()
    {
        var pids = new List<int> { root };
        for (var i = 0; i < pids.Count; i++)
        {
            foreach (var task in Tasks(pids[i]))
            {
                var children = Read($"{task}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries);
                foreach (var child in children)
                    pids.Add(int.Parse(child, CultureInfo.InvariantCulture));
            }
        }

        return pids;
    }

    public ProcessUsage Usage()
    {
        long user = 0, system = 0, resident = 0, peak = 0, voluntary = 0, involuntary = 0, faults = 0;
        var threads = 0;
        foreach (var pid in Pids())
        {
            if (Read($"/proc/{pid}/stat") is not { Length: > 0 } line)
                continue;
            var stat = ProcStat.Parse(line);
            user += stat.UserTicks + stat.ReapedUserTicks;
            system += stat.SystemTicks + stat.ReapedSystemTicks;
            threads += stat.Threads;
            faults += stat.MinorFaults;
            var status = Read($"/proc/{pid}/status");
            resident += StatusField(status, "VmRSS");
            peak += StatusField(status, "VmHWM");
            foreach (var task in Tasks(pid))
            {
                var taskStatus = Read($"{task}/status");
                voluntary += StatusField(taskStatus, "voluntary_ctxt_switches");
                involuntary += StatusField(taskStatus, "nonvoluntary_ctxt_switches");
            }
        }

        var perSecond = (double)Native.TicksPerSecond;
        return new ProcessUsage(user / perSecond, system / perSecond, resident, peak, threads, voluntary,
            involuntary, faults);
    }

    /// <summary>Current resident memory of these processes, KB.</summary>
    public static long ResidentKb(IEnumerable<int> pids) =>
        pids.Sum(pid => StatusField(Read($"/proc/{pid}/status"), "VmRSS"));

    /// <summary>Restarts the peak now (proc_pid_clear_refs(5)).</summary>
    /// <returns>False if the kernel does not allow it: the peak then covers the whole life.</returns>
    public bool ResetPeak()
    {
        try
        {
            foreach (var pid in Pids())
                File.WriteAllText($"/proc/{pid}/clear_refs", "5");
            return true;
        }
        catch (Exception exception) when (exception is IOException or UnauthorizedAccessException)
        {
            return false;
        }
    }

    /// <summary>The number of a line <c>Name: number [kB]</c>; 0 if there is none.</summary>
    internal static long StatusField(string status, string name)
    {
        foreach (var line in status.AsSpan().EnumerateLines())
        {
            if (!line.StartsWith(name, StringComparison.Ordinal) || line.Length <= name.Length
                || line[name.Length] != ':')
            {
                continue;
            }

            var value = line[(name.Length + 1)..].Trim();
            var end = value.IndexOf(' ');
            return long.Parse(end < 0 ? value : value[..end], CultureInfo.InvariantCulture);
        }

        return 0;
    }

    private static string[] Tasks(int pid)
    {
        try
        {
            return Directory.GetDirectories($"/proc/{pid}/task");
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }
    }

    private static string Read(string path)
    {
        try
        {
            return File.ReadAllText(path);
        }
        catch (IOException)
        {
            // Ended meanwhile (ENOENT, ESRCH).
            return "";
        }
    }
}
