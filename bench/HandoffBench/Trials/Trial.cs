using System.Diagnostics;
using StreamingDaemon.Bench.Daemon;
using StreamingDaemon.Bench.Load;
using StreamingDaemon.Bench.Report;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Trials;

/// <summary>
/// Runs one daemon under one load: a fresh process each time, so that no run pays for an earlier one.
/// </summary>
internal sealed class Trial : IDisposable
{
    private static readonly TimeSpan s_atRestAfter = TimeSpan.FromMilliseconds(700);

    // A daemon may gather the log lines of its probes.
    private static readonly TimeSpan s_logQuietAfter = TimeSpan.FromMilliseconds(300);
    private static readonly TimeSpan s_probePatience = TimeSpan.FromSeconds(30);

    private const int MostStreamsUnderStrace = 500;

    private readonly TrialPlan _plan;
    private readonly DirectoryInfo _directory = Directory.CreateTempSubdirectory("handoff-bench");
    private readonly string _socketPath;
    private readonly int _metricsPort;
    private readonly ChildProcess? _upstream;
    private readonly ChildProcess _daemon;

    /// <exception cref="InvalidOperationException">The daemon or the upstream does not start.</exception>
    public Trial(TrialPlan plan)
    {
        _plan = plan;
        _socketPath = Path.Combine(_directory.FullName, "s");
        if (plan.Daemon.Contains("@PORT@", StringComparison.Ordinal))
            _metricsPort = ChildProcess.FreePort();
        var upstreamPort = plan.Upstream is null ? 0 : ChildProcess.FreePort();
        try
        {
            if (plan.Upstream is not null)
            {
                _upstream = ChildProcess.Start(Fill(plan.Upstream, upstreamPort), LogPath("upstream.log"));
                _upstream.WaitUntil(() => ChildProcess.Listens(upstreamPort), "the upstream listens");
            }

            _daemon = ChildProcess.Start(Fill(plan.Daemon, upstreamPort), LogPath("daemon.log"));
            _daemon.WaitUntil(() => File.Exists(_socketPath), "the daemon's socket is there");
        }
        catch
        {
            Dispose();
            throw;
        }
    }

    /// <summary>Measures: rest, probes, warm-up, load, rest. If it is to be cold: rest, load, rest, the same
    /// load.</summary>
    public TrialResult Run(int round)
    {
        Thread.Sleep(s_atRestAfter);
        var atRest = _daemon.Tree.Usage();
        var expected = _plan.Cold ? LearnFromAnother() : Learn();
        if (_plan.WarmUp > 0)
        {
            _ = RunLoad(_plan.Load with { Streams = _plan.WarmUp, Rate = 0, Concurrency = 0 }, expected,
                null);
        }

        Thread.Sleep(s_logQuietAfter);
        var peakIsOfLoad = _daemon.Tree.ResetPeak();
        var runtimeBefore = Scrape();
        var linesBefore = _daemon.LogLines;
        var upstreamBefore = _upstream?.Tree.Usage().CpuSeconds;
        using var own = Process.GetCurrentProcess();
        var before = _daemon.Tree.Usage();
        own.Refresh();
        var ownBefore = own.TotalProcessorTime;
        using var progress = new ProgressBar($"{_plan.Label}, round {round}");
        LoadRun? running = null;
        using var memory = new MemorySampler(_daemon.Tree, () =>
        {
            if (Volatile.Read(ref running) is { } load)
                progress.Show(load.Progress.Begun, load.Progress.Ended, _plan.Load);
        });
        var machineBefore = MachineCpu.Read();
        var result = RunLoad(_plan.Load, expected, load => Volatile.Write(ref running, load));
        var machine = MachineCpu.Read().Since(machineBefore);
        var after = _daemon.Tree.Usage();
        own.Refresh();
        var ownAfter = own.TotalProcessorTime;
        var upstreamAfter = _upstream?.Tree.Usage().CpuSeconds;
        if (_daemon.HasExited)
            throw new InvalidOperationException($"the daemon ended under the load:\n{_daemon.LogTail}");
        var runtime = runtimeBefore is null ? null : Scrape()?.Since(runtimeBefore);
        Thread.Sleep(_plan.Settle);
        var lines = _daemon.LogLines - linesBefore;
        var samples = memory.Stop();
        var settled = _daemon.Tree.Usage();
        return new TrialResult
        {
            Plan = _plan,
            Round = round,
            Expected = expected,
            Load = result,
            AtRest = atRest,
            Before = before,
            After = after,
            Settled = settled,
            Second = _plan.Cold ? Repeat(expected) : null,
            LogLines = lines,
            PeakIsOfLoad = peakIsOfLoad,
            Memory = samples,
            Runtime = runtime,
            OwnCpuSeconds = (ownAfter - ownBefore).TotalSeconds,
            UpstreamCpuSeconds = upstreamAfter - upstreamBefore,
            Machine = machine,
        };
    }

    /// <summary>A separate run, because other figures are useless while strace counts.</summary>
    public (IReadOnlyDictionary<string, long> Calls, long Tokens) CountSyscalls()
    {
        var expected = Learn();
        using var count = new SyscallCount(_daemon.Pid);
        var most = count.IsPerf ? int.MaxValue : MostStreamsUnderStrace;
        var load = _plan.Load with { Streams = Math.Min(most, _plan.Load.Streams), Concurrency = 0 };
        var result = RunLoad(load, expected, null);
        return (count.Stop(), (long)result.Good * expected.Events);
    }

    public void Dispose()
    {
        _daemon?.Dispose();
        _upstream?.Dispose();
        _directory.Delete(recursive: true);
    }

    private Repetition Repeat(ExpectedStream expected)
    {
        var before = _daemon.Tree.Usage();
        var result = RunLoad(_plan.Load, expected, null);
        var after = _daemon.Tree.Usage();
        return new Repetition(result, before, after);
    }

    private ExpectedStream LearnFromAnother()
    {
        using var another = new Trial(_plan);
        return another.Learn();
    }

    private ExpectedStream Learn()
    {
        try
        {
            return Probe.Learn(_plan.Load, _socketPath, _plan.Shape, s_probePatience);
        }
        catch (Exception exception) when (exception is InvalidAnswerException or TimeoutException)
        {
            throw new InvalidOperationException($"{exception.Message}\n{_daemon.LogTail}", exception);
        }
    }

    private LoadResult RunLoad(LoadPlan load, ExpectedStream expected, Action<LoadRun?>? onRunning)
    {
        using var run = new LoadRun(load, expected, _socketPath);
        onRunning?.Invoke(run);
        try
        {
            return run.Run();
        }
        finally
        {
            onRunning?.Invoke(null);
        }
    }

    private RuntimeCounters? Scrape() => _metricsPort > 0 ? RuntimeCounters.Scrape(_metricsPort) : null;

    private string LogPath(string name) => Path.Combine(_directory.FullName, name);

    private string Fill(string commandLine, int upstreamPort) => commandLine
        .Replace("@SOCK@", _socketPath, StringComparison.Ordinal)
        .Replace("@PORT@", $"{_metricsPort}", StringComparison.Ordinal)
        .Replace("@UPORT@", $"{upstreamPort}", StringComparison.Ordinal);
}
