using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Commands;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

AppDomain.CurrentDomain.UnhandledException += LastWords.OnUnhandled;
try
{
    SharedArrayPool.Enlarge();
    StandardStreams.Fill();
    StandardStreams.OutliveFullFiles();
    // With a JIT the runtime raises the limit by itself; under Native AOT it does not.
    StartChecks.RaiseDescriptorLimit();
    return await CommandLine.InvokeAsync(args, new CliActions());
}
catch (Exception e) when (LastWords.Explain(e) is not null)
{
    LastWords.Say(LastWords.Explain(e)!);
    return ExitCode.Failure;
}
