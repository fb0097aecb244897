using System.Diagnostics;
using System.Globalization;
using Microsoft.Extensions.Logging;
using Serilog.Extensions.Logging;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Handoff;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Micro;

/// <summary>
/// What a line of the access log costs: on the thread that ends the stream, and on the writer's. Lines come
/// at a steady rate and go to a file, as in a daemon; each is of a request without an id, which gets one.
/// </summary>
internal sealed class AccessLogCost : IHandoffHandler, IDisposable
{
    private const int LinesPerSecond = 1_000;
    private const int LinesPerTick = 10;
    private const int WarmUpLines = 3_000;

    private readonly TempDirectory _directory = new();
    private readonly TaskCompletionSource<ClientStream> _client = new();
    private readonly TaskCompletionSource _end = new();
    private readonly MockBackend _backend = new(new MockOptions());
    private readonly ObservedFile _file;

    private AccessLogCost() => _file = new ObservedFile(_directory.File("log"));

    /// <summary>Prints both formats.</summary>
    /// <param name="output">Gets the table.</param>
    /// <param name="lines">Lines to measure; a thousand a second are written.</param>
    /// <returns>0; 1 if a line was lost or allocated.</returns>
    public static async Task<int> RunAsync(TextWriter output, int lines)
    {
        output.WriteLine($"{lines} lines a format, {LinesPerSecond} a second, after {WarmUpLines} for warm-up");
        output.WriteLine($"{"",-8}{"ends a stream: ns p50, p99, mean; B",-40}"
            + $"{"writer: ns CPU; B",-22}{"lines a write",14}{"B a line",10}{"lost",6}");
        var isClean = true;
        foreach (var format in (string[])["json", "text"])
        {
            using var cost = new AccessLogCost();
            isClean &= await cost.MeasureAsync(output, format, lines);
        }

        return isClean ? 0 : 1;
    }

    private async Task<bool> MeasureAsync(TextWriter output, string format, int lines)
    {
        var server = new HandoffServer(new HandoffServerOptions { SocketPath = _directory.File("s") }, this);
        await server.StartAsync();
        using var browser = TestClient.HandOver(_directory.File("s"), "{}");
        var client = await _client.Task;
        var lost = 0L;
        var report = new Report();
        using (var log = new DaemonLog(new LoggingOptions { Format = format, Level = "information" }, _file))
        {
            log.Writer!.Lost = count => Interlocked.Add(ref lost, count);
            using var factory = new SerilogLoggerFactory(log.Logger);
            using var samples = new LogSampler(factory.CreateLogger<LogSampler>());
            var accessLog = new AccessLog(new DaemonOptions(), samples, factory.CreateLogger<AccessLog>(), log);
            // A thread of its own: its allocations are those of the lines.
            var thread = new Thread(() => report = Write(accessLog, client, lines));
            thread.Start();
            thread.Join();
        }

        _end.SetResult();
        server.Stop();
        await server.Completion;
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{format,-8}{report.Ending(),-40}"
            + $"{report.Writing(),-22}{(double)lines / report.Writes,14:0}{report.FileBytes / lines,10}{lost,6}"));
        return lost == 0 && report.EndingBytes + report.WritingBytes < lines;
    }

    private Report Write(AccessLog log, ClientStream client, int lines)
    {
        // Made before: the streams' own objects are not the log's.
        var requests = Enumerable.Range(0, WarmUpLines + lines)
            .Select(_ => new HandoffRequest { UserId = 42, Client = client }).ToArray();
        var nanoseconds = new long[lines];
        WritePaced(log, client, requests.AsSpan(0, WarmUpLines), new long[WarmUpLines]);
        var (before, cpuBefore) = (_file.Read(), WriterCpu());
        var bytesBefore = GC.GetAllocatedBytesForCurrentThread();
        WritePaced(log, client, requests.AsSpan(WarmUpLines), nanoseconds);
        var bytes = GC.GetAllocatedBytesForCurrentThread() - bytesBefore;
        // The last lines still gather.
        Thread.Sleep(2 * LogWriter.GatherMs);
        var (after, cpuAfter) = (_file.Read(), WriterCpu());
        Array.Sort(nanoseconds);
        return new Report(nanoseconds, bytes, cpuAfter - cpuBefore, after.Allocated - before.Allocated,
            after.Writes - before.Writes, after.Bytes - before.Bytes);
    }

    private void WritePaced(AccessLog log, ClientStream client, ReadOnlySpan<HandoffRequest> requests,
        Span<long> nanoseconds)
    {
        var tick = Stopwatch.Frequency * LinesPerTick / LinesPerSecond;
        var due = Stopwatch.GetTimestamp();
        for (var i = 0; i < requests.Length; i++)
        {
            if (i % LinesPerTick == 0)
            {
                due += tick;
                var left = Stopwatch.GetElapsedTime(Stopwatch.GetTimestamp(), due);
                if (left > TimeSpan.Zero)
                    Thread.Sleep(left);
            }

            var begun = Stopwatch.GetTimestamp();
            log.Write(new StreamReport(requests[i], client, _backend, StreamOutcome.Completed,
                BackendResult.Completed, 18, TimeSpan.FromMilliseconds(1.234), 200, null,
                default));
            nanoseconds[i] = (Stopwatch.GetTimestamp() - begun) * (1_000_000_000 / Stopwatch.Frequency);
        }
    }

    /// <summary>CPU time of the thread "log", ns: the first number of its schedstat (proc(5)).</summary>
    private static long WriterCpu() => Directory.GetDirectories("/proc/self/task")
        .Where(task => File.ReadAllText($"{task}/comm") == "log\n")
        .Sum(task => long.Parse(File.ReadAllText($"{task}/schedstat").Split(' ')[0], CultureInfo.InvariantCulture));

    Task IHandoffHandler.HandleAsync(ClientStream client)
    {
        _client.SetResult(client);
        return _end.Task;
    }

    void IHandoffHandler.OnFault(ClientStream client, Exception exception) =>
        Console.Error.WriteLine(exception);

    void IHandoffHandler.OnRejected(HandoffRejection reason, HandoffPeer peer) =>
        Console.Error.WriteLine(reason);

    public void Dispose()
    {
        _file.Dispose();
        _backend.Dispose();
        _directory.Dispose();
    }

    /// <param name="Nanoseconds">Of each line on the thread that ends a stream, sorted.</param>
    /// <param name="EndingBytes">Allocated by that thread.</param>
    /// <param name="WriterNanoseconds">CPU of the writer, for all lines.</param>
    /// <param name="WritingBytes">Allocated by the writer.</param>
    /// <param name="Writes">Calls of write(2).</param>
    /// <param name="FileBytes">Written.</param>
    private readonly record struct Report(long[] Nanoseconds, long EndingBytes, long WriterNanoseconds,
        long WritingBytes, long Writes, long FileBytes)
    {
        public string Ending() => string.Create(CultureInfo.InvariantCulture,
            $"{Nanoseconds[Nanoseconds.Length / 2]}, {Nanoseconds[Nanoseconds.Length * 99 / 100]}, "
            + $"{Nanoseconds.Average():0}; {(double)EndingBytes / Nanoseconds.Length:0.##}");

        public string Writing() => string.Create(CultureInfo.InvariantCulture,
            $"{WriterNanoseconds / Nanoseconds.Length}; {(double)WritingBytes / Nanoseconds.Length:0.##}");
    }

    /// <summary>A log file that counts its writes and what their thread has allocated.</summary>
    private sealed class ObservedFile(string path) : FileStream(path, FileMode.Create, FileAccess.Write,
        FileShare.Read, bufferSize: 0)
    {
        private readonly object _gate = new();
        private (long Writes, long Bytes, long Allocated) _seen;

        public (long Writes, long Bytes, long Allocated) Read()
        {
            lock (_gate)
                return _seen;
        }

        public override void Write(byte[] buffer, int offset, int count)
        {
            base.Write(buffer, offset, count);
            lock (_gate)
            {
                _seen = (_seen.Writes + 1, _seen.Bytes + count, GC.GetAllocatedBytesForCurrentThread());
            }
        }
    }
}
