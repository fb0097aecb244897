using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Uring;

OutOfMemory.Watch();
SharedArrayPool.Enlarge();
StandardStreams.Fill();
// The runtime does it only where it compiles at run time.
StartChecks.RaiseDescriptorLimit();
return await CommandLine.InvokeAsync(args, new CliActions());
