using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Commands;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

// A child does this before everything else: its parent waits for the answer.
if (args is [FileProcess.Argument, .. var question])
    return FileProcess.Serve(question);
AppDomain.CurrentDomain.UnhandledException += LastWords.OnUnhandled;
try
{
    SharedArrayPool.Enlarge();
    StandardStreams.Fill();
    StandardStreams.OutliveFullFiles();
    // With a JIT the runtime raises the limit by itself; under Native AOT it does not.
    StartChecks.RaiseDescriptorLimit();
    FileProcess.Enable();
    return await CommandLine.InvokeAsync(args, new CliActions());
}
catch (Exception e) when (LastWords.Explain(e) is not null)
{
    LastWords.Say(LastWords.Explain(e)!);
    return ExitCode.Failure;
}
