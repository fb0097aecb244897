using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Hosting;

StandardStreams.Fill();
return await CommandLine.InvokeAsync(args, new CliActions());
