using System.Globalization;
using BenchmarkDotNet.Columns;
using BenchmarkDotNet.Configs;
using BenchmarkDotNet.Diagnosers;
using BenchmarkDotNet.Exporters;
using BenchmarkDotNet.Jobs;
using BenchmarkDotNet.Loggers;
using BenchmarkDotNet.Running;
using BenchmarkDotNet.Toolchains.InProcess.Emit;
using Perfolizer.Horology;

// The single steps of a token's path; see bench/README.md.
//   micro [--filter *Sse*] [--full]     --full: BenchmarkDotNet's own number of iterations, many minutes
//   micro --access-log [LINES]          what a line of the access log costs on either thread; half a minute
//   micro --upstream                    bytes allocated a token and a stream, over HTTP/1.1 and HTTP/2; ten seconds
if (args is ["--access-log", .. var count])
{
    return await StreamingDaemon.Micro.AccessLogCost.RunAsync(Console.Out,
        count is [var lines] ? int.Parse(lines, CultureInfo.InvariantCulture) : 10_000);
}

if (args is ["--upstream"])
    return await StreamingDaemon.Micro.UpstreamAllocation.RunAsync(Console.Out);

var isFull = args.Contains("--full");
// In this process: the measured types are internal, and another build would only cost time.
var job = Job.Default.WithToolchain(new InProcessEmitToolchain(TimeSpan.FromMinutes(5), logOutput: false));
if (!isFull)
{
    job = job.WithWarmupCount(2).WithIterationCount(4).WithIterationTime(TimeInterval.FromMilliseconds(150))
        .WithId("short");
}

var config = ManualConfig.CreateEmpty()
    .AddJob(job)
    .AddDiagnoser(MemoryDiagnoser.Default)
    .AddColumnProvider(DefaultColumnProviders.Instance)
    .AddLogger(ConsoleLogger.Default)
    .AddExporter(MarkdownExporter.GitHub)
    .WithOptions(ConfigOptions.JoinSummary)
    .WithCultureInfo(CultureInfo.InvariantCulture)
    .WithArtifactsPath(Path.Combine("artifacts", "micro"));
string[] rest = [.. args.Where(a => a != "--full")];
var summaries = BenchmarkSwitcher.FromAssembly(typeof(StreamingDaemon.Micro.SseEncoding).Assembly)
    .Run(rest.Contains("--filter") ? rest : [.. rest, "--filter", "*"], config).ToList();
var isWhole = summaries.Count > 0
    && summaries.All(s => !s.HasCriticalValidationErrors && s.Reports.All(r => r.Success));
return isWhole ? 0 : 1;
