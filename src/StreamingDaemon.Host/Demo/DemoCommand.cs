using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Demo;

/// <summary>
/// <c>demo</c>: the daemon on a temporary socket and a small front that plays Apache before it, so that a
/// browser can be pointed at it; one answer goes to the terminal first.
/// </summary>
internal static class DemoCommand
{
    private const string Prompt = "Tell me about streaming";

    public static async Task<int> RunAsync(DaemonOptions options, int port, bool once,
        CancellationToken cancellationToken)
    {
        var directory = Directory.CreateTempSubdirectory("streaming-daemon-");
        try
        {
            var socketPath = Path.Combine(directory.FullName, "handoff.sock");
            var demonstration = options with
            {
                Server = options.Server with { Socket = socketPath },
                Timeouts = options.Timeouts with { ShutdownTimeoutS = 5 },
                Logging = options.Logging with { Level = "warning" },
            };
            using var daemon = new DaemonRun(demonstration, reread: () => demonstration);
            await using var front = DemoFront.Listen(port, socketPath);
            await daemon.StartAsync(cancellationToken);

            Console.WriteLine($"One answer of the {options.Backend.Name} backend, handed over as by Apache:");
            Console.WriteLine();
            // The mock's events are sentences; a model's are pieces of words.
            var between = options.Backend.Name == "mock" ? "\n" : "";
            var whole = await PrintAnswerAsync(socketPath, between, cancellationToken);
            Console.WriteLine();
            if (once)
                daemon.Drain.Begin();
            else
                Console.WriteLine($"Chat page: {front.Url}   (Ctrl-C ends)");

            var serving = front.ServeAsync(daemon.Drain.Begun);
            var exitCode = await daemon.WaitAsync(cancellationToken);
            await serving;
            return exitCode != 0 ? exitCode : whole ? ExitCode.Success : ExitCode.Failure;
        }
        finally
        {
            directory.Delete(recursive: true);
        }
    }

    private static async Task<bool> PrintAnswerAsync(string socketPath, string between,
        CancellationToken cancellationToken)
    {
        using var client = HandoffClient.Open(socketPath, SendCommand.HandoffData(Prompt, null));
        var answer = new AnswerReader(client);
        var status = await answer.ReadHeadAsync(cancellationToken);
        var done = false;
        while (await answer.ReadLineAsync(cancellationToken) is { } line)
        {
            done |= line == "data: [DONE]";
            if (status != 200)
                Console.WriteLine(line);
            else if (ContentOf(line) is { } text)
                Console.Write(text + between);
        }

        Console.WriteLine();
        return done;
    }

    /// <summary>The text of a content or error event, or null for any other line.</summary>
    private static string? ContentOf(string line)
    {
        const string Data = "data: ";
        if (!line.StartsWith(Data + "{", StringComparison.Ordinal))
            return null;
        using var document = JsonDocument.Parse(line.AsMemory(Data.Length));
        return document.RootElement.TryGetProperty("content", out var content) ? content.GetString()
            : document.RootElement.TryGetProperty("error", out var error) ? $"\n[error: {error.GetString()}]"
            : null;
    }
}
