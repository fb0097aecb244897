using System.Diagnostics;
using System.Globalization;
using System.Text.RegularExpressions;
using StreamingDaemon.Bench.Interop;

namespace StreamingDaemon.Bench.Trials;

/// <summary>
/// floor.c, compiled and run: what the kernel alone charges to send one small event to one of N idle sockets
/// from a batched io_uring.
/// </summary>
internal sealed partial class Floor : IDisposable
{
    private const int Rounds = 20;
    private const int OtherDescriptors = 100;
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("floor");
    private readonly string _program;

    /// <exception cref="InvalidOperationException">It does not compile.</exception>
    public Floor(string source)
    {
        _program = Path.Combine(_directory.FullName, "floor");
        try
        {
            _ = Run("gcc", "-O2", "-o", _program, source, "-luring");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Microseconds of CPU per event, for that many clients or as many as descriptors
    /// allow.</summary>
    /// <exception cref="InvalidOperationException">It failed.</exception>
    public double Measure(int clients, int bytes, bool tcp)
    {
        string Text(int number) => number.ToString(CultureInfo.InvariantCulture);
        // This process holds both ends of each.
        var most = (int)Math.Min(int.MaxValue, Native.RaiseDescriptorLimit() / 2 - OtherDescriptors);
        var line = Run(_program, Text(Math.Min(clients, most)), Text(Rounds), Text(bytes),
            tcp ? "tcp" : "unix", "uring");
        return Parse(line);
    }

    public void Dispose() => _directory.Delete(recursive: true);

    /// <summary>Reads <c>unix uring n=5000 events=100000 cpu_us_per_event=2.512</c>.</summary>
    internal static double Parse(string line) => Figure().Match(line) is { Success: true } match
        ? double.Parse(match.Groups[1].ValueSpan, CultureInfo.InvariantCulture)
        : throw new InvalidOperationException($"floor printed '{line.Trim()}'");

    private static string Run(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using var process = Process.Start(start)
            ?? throw new InvalidOperationException($"{program} does not start");
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        if (process.ExitCode != 0)
            throw new InvalidOperationException($"{program}: {error.GetAwaiter().GetResult()}");
        return output;
    }

    [GeneratedRegex(@"cpu_us_per_event=([0-9.]+)")]
    private static partial Regex Figure();
}
