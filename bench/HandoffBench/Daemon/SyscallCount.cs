using System.Diagnostics;
using System.Globalization;
using StreamingDaemon.Bench.Interop;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>
/// strace -c on a daemon that runs. It stops the process at each call, so nothing else is measured in the
/// same run.
/// </summary>
internal sealed class SyscallCount : IDisposable
{
    private const int SigInt = 2;
    private readonly Process _strace;
    private readonly string _path = Path.GetTempFileName();

    /// <summary>Attaches, to every thread and child, and waits until it is attached.</summary>
    /// <exception cref="InvalidOperationException">There is no strace, or it may not.</exception>
    public SyscallCount(int pid)
    {
        var start = new ProcessStartInfo("strace") { RedirectStandardError = true };
        foreach (var argument in (string[])["-c", "-f", "-U", "calls,name", "-p", $"{pid}", "-o", _path])
            start.ArgumentList.Add(argument);
        try
        {
            _strace = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception exception)
        {
            throw new InvalidOperationException("--strace needs strace", exception);
        }

        var first = _strace.StandardError.ReadLine();
        if (first?.Contains("attached", StringComparison.Ordinal) != true)
            throw new InvalidOperationException($"strace: {first}");
        // One line a thread: they must not fill the pipe.
        _ = _strace.StandardError.ReadToEndAsync();
    }

    /// <summary>Detaches and returns the calls by name.</summary>
    public IReadOnlyDictionary<string, long> Stop()
    {
        if (!_strace.HasExited)
            _ = Native.Kill(_strace.Id, SigInt);
        _strace.WaitForExit();
        return Parse(File.ReadAllText(_path));
    }

    public void Dispose()
    {
        if (!_strace.HasExited)
            _ = Stop();
        _strace.Dispose();
        File.Delete(_path);
    }

    /// <summary>Reads the table of <c>-U calls,name</c>: a count and a name a line.</summary>
    internal static IReadOnlyDictionary<string, long> Parse(string table)
    {
        var calls = new Dictionary<string, long>();
        foreach (var line in table.Split('\n'))
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length == 2 && words[1] != "total"
                && long.TryParse(words[0], CultureInfo.InvariantCulture, out var count))
                calls[words[1]] = count;
        }

        return calls;
    }
}
