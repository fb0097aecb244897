using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Uring;

var o = new DaemonOptions { Server = new ServerOptions { Socket = "/tmp/sd-try.sock" }, Monitoring = new MonitoringOptions { MetricsPort = 9191 } };
using var host = DaemonHost.Build(o);
await host.RunAsync();
BenchmarkSummary.Write(Console.Error, host.Services.GetRequiredService<HandoffServer>().Statistics, host.Services.GetRequiredService<StreamMetrics>());
return host.Services.GetRequiredService<HandoffLoopService>().ExitCode;
