using System.CommandLine;
using System.ComponentModel;
using StreamingDaemon.Bench;
using StreamingDaemon.Bench.Daemon;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Targets;

// The load generator: plays Apache and the browsers; see bench/README.md.
using var signals = ChildProcess.EndAllOnSignal();
var root = new RootCommand("Hands clients over to a daemon, reads every answer, and says what it cost.");
var options = new BenchOptions();
foreach (var option in options.All)
    root.Add(option);
options.Daemon.Required = true;
root.SetAction(arguments => Guard(() => new BenchCommand(arguments, options).Run()));
root.Add(TargetsCommand.Create(Guard));
return root.Parse(args).Invoke();

static int Guard(Func<int> run)
{
    try
    {
        return run();
    }
    catch (Exception exception)
        when (exception is FormatException or InvalidOperationException or SystemCallException
            or TimeoutException or IOException or ArgumentException or Win32Exception)
    {
        Console.Error.WriteLine(exception.Message);
        return 2;
    }
}
