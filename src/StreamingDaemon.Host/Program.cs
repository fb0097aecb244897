using StreamingDaemon.Host.Cli;

return await CommandLine.InvokeAsync(args, new CliActions());
