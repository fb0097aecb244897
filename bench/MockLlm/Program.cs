using System.CommandLine;
using System.Runtime.InteropServices;
using StreamingDaemon.MockLlm;

// An OpenAI-compatible upstream for measurements; see bench/README.md.
Option<int> Number(string name, int value, string description) =>
    new(name) { Description = description, DefaultValueFactory = _ => value };

var port = Number("--port", 8081, "Port on 127.0.0.1; 0 is any free one");
var tls = new Option<bool>("--tls") { Description = "TLS with a self-signed certificate" };
var http = Number("--http", 2, "2 (h2c, or by ALPN with --tls), or 1 for HTTP/1.1");
http.AcceptOnlyFromAmong("1", "2");
var chunks = Number("--chunks", 18, "Chunks with text");
var delay = Number("--delay-ms", 50, "Before each piece but the first");
var firstDelay = Number("--first-delay-ms", 0, "Before the first piece");
var size = Number("--size", 0, "Bytes of text in a chunk; 0 is a word");
var maxStreams = Number("--max-streams", 100, "Streams on one HTTP/2 connection");
var socket = new Option<string?>("--socket") { Description = "Path of a Unix socket, in the place of the port" };
var reads = new Option<bool>("--read-requests")
{
    Description = "Answer by path and X-Test-Pattern over HTTP/2 too (HTTP/1.1 always does); costs more CPU",
};
var root = new RootCommand("Answers every chat completion with the same stream, and says what that cost.")
{
    port, tls, http, chunks, delay, firstDelay, size, maxStreams, socket, reads,
};
root.SetAction(async (arguments, _) =>
{
    // A collection here stops every stream at once, for tens of milliseconds, and would count as the daemon's
    // delay. No bounded load fills this, and only the used part becomes resident.
    GC.TryStartNoGCRegion(4L << 30);
    var ended = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
    void End(PosixSignalContext signal)
    {
        signal.Cancel = true;
        ended.TrySetResult();
    }

    using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
    await using var server = new MockLlmServer(new MockLlmOptions(
        arguments.GetValue(port), arguments.GetValue(tls), arguments.GetValue(http),
        arguments.GetValue(chunks), arguments.GetValue(delay), arguments.GetValue(firstDelay),
        arguments.GetValue(size), arguments.GetValue(maxStreams), arguments.GetValue(socket),
        arguments.GetValue(reads)));
    await server.StartAsync();
    Console.WriteLine($"listening on {arguments.GetValue(socket) ?? server.BaseAddress}");
    await ended.Task;
    Console.WriteLine(server.CpuReport);
    return 0;
});
return await root.Parse(args).InvokeAsync();
