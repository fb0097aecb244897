using System.Globalization;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>A process's line in <c>/proc/PID/stat</c> (proc_pid_stat(5)); times in ticks of
/// USER_HZ.</summary>
/// <param name="ParentPid">Field 4.</param>
/// <param name="MinorFaults">Field 10: pages touched for the first time, without reading the disk.</param>
/// <param name="UserTicks">Field 14: all its threads, ended ones too.</param>
/// <param name="SystemTicks">Field 15.</param>
/// <param name="ReapedUserTicks">Field 16: children that it has waited for.</param>
/// <param name="ReapedSystemTicks">Field 17.</param>
/// <param name="Threads">Field 20.</param>
internal readonly record struct ProcStat(int ParentPid, long MinorFaults, long UserTicks, long SystemTicks,
    long ReapedUserTicks, long ReapedSystemTicks, int Threads)
{
    /// <summary>Reads the one line of the file.</summary>
    /// <exception cref="FormatException">The line's format is wrong.</exception>
    public static ProcStat Parse(string line)
    {
        // The name, field 2, may contain spaces and parentheses: the last parenthesis closes it.
        var close = line.LastIndexOf(')');
        if (close < 0)
            throw new FormatException($"no stat line: {line}");
        var fields = line[(close + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (fields.Length < 18)
            throw new FormatException($"a stat line that ends early: {line}");
        long Field(int number) => long.Parse(fields[number - 3], CultureInfo.InvariantCulture);
        return new ProcStat((int)Field(4), Field(10), Field(14), Field(15), Field(16), Field(17), (int)Field(20));
    }
}
