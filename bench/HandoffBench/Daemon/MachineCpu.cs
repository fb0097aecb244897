using System.Globalization;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>The first line of <c>/proc/stat</c>: all cores together (proc_stat(5)), in ticks of
/// USER_HZ.</summary>
/// <param name="Busy">user, nice, system, irq and softirq.</param>
/// <param name="Idle">idle and iowait.</param>
/// <param name="Stolen">steal: wanted here, but the hypervisor gave it to another guest.</param>
internal readonly record struct MachineCpu(long Busy, long Idle, long Stolen)
{
    /// <summary>Share of stolen ticks among those in which a core had something to do; 0 to 1, or null if
    /// there were none.</summary>
    public double? StolenShare => Busy + Stolen > 0 ? (double)Stolen / (Busy + Stolen) : null;

    /// <summary>The current values.</summary>
    /// <exception cref="FormatException">The file's format is wrong.</exception>
    public static MachineCpu Read() => Parse(File.ReadLines("/proc/stat").First());

    /// <summary>Reads the line.</summary>
    /// <exception cref="FormatException">The line's format is wrong.</exception>
    public static MachineCpu Parse(string line)
    {
        var fields = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        if (fields is not ["cpu", ..] || fields.Length < 9)
            throw new FormatException($"no cpu line: {line}");
        var ticks = fields[1..9].Select(f => long.Parse(f, CultureInfo.InvariantCulture)).ToArray();
        return new MachineCpu(ticks[0] + ticks[1] + ticks[2] + ticks[5] + ticks[6], ticks[3] + ticks[4], ticks[7]);
    }

    /// <summary>The difference since then.</summary>
    public MachineCpu Since(MachineCpu before) => new(Busy - before.Busy, Idle - before.Idle, Stolen - before.Stolen);

    /// <summary>Idle time, in cores: nothing ran and nothing was waiting to run; null if no time
    /// passed.</summary>
    public double? IdleCores(int cores) =>
        Busy + Idle + Stolen is > 0 and var all ? (double)Idle / all * cores : null;
}
