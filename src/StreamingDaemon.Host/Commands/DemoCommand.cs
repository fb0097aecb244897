using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary>
/// <c>demo</c>: prints one answer, then serves the chat page for a browser. Runs the daemon on a temporary
/// socket, with a small front that plays Apache.
/// </summary>
internal static class DemoCommand
{
    private const string Prompt = "Tell me about streaming";

    public static async Task<int> RunAsync(DaemonOptions options, int port, bool once,
        CancellationToken cancellationToken)
    {
        var directory = MakeDirectory();
        // The second Ctrl-C ends the process at once, without running any finally block.
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Remove(directory);
        try
        {
            var socketPath = Path.Combine(directory.FullName, "handoff.sock");
            var demonstration = options with
            {
                Server = options.Server with { Socket = socketPath },
                Timeouts = options.Timeouts with { ShutdownTimeoutS = 5 },
                Logging = options.Logging with { Level = "warning" },
            };
            ThreadReserve.Fill();
            using var daemon = new DaemonRun(demonstration, reread: () => demonstration,
                signals: new ProcessSignals());
            await using var front = DemoFront.Listen(port, socketPath);
            await daemon.StartAsync(cancellationToken);

            Console.WriteLine($"One answer of the {options.Backend.Name} backend, handed over as by Apache:");
            Console.WriteLine();
            // The mock's events are whole sentences; a model's are parts of words.
            var between = options.Backend.Name == "mock" ? "\n" : "";
            var whole = await PrintAnswerAsync(socketPath, between, daemon.Drain.Begun);
            Console.WriteLine();
            if (once || daemon.Drain.IsDraining)
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
            Remove(directory);
        }
    }

    private static DirectoryInfo MakeDirectory()
    {
        try
        {
            return Directory.CreateTempSubdirectory("streaming-daemon-");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new IOException($"{Path.GetTempPath()}: cannot create a directory there: "
                + $"{e.Message.TrimEnd('.')}. Set TMPDIR to another directory", e);
        }
    }

    private static void Remove(DirectoryInfo directory)
    {
        try
        {
            directory.Delete(recursive: true);
        }
        catch (IOException)
        {
            // Removed already.
        }
    }

    /// <returns>True if the answer was complete; false if Ctrl-C came before its end.</returns>
    private static async Task<bool> PrintAnswerAsync(string socketPath, string between, Task interrupted)
    {
        using var client = HandoffClient.Open(socketPath, SendCommand.HandoffData(Prompt, null));
        var printing = PrintAsync(new AnswerReader(client), between);
        if (await Task.WhenAny(printing, interrupted) == printing)
            return await printing;
        // To the daemon, the client leaves: so the upstream call ends, and then the drain.
        client.Dispose();
        await printing.ContinueWith(static p => _ = p.Exception, TaskScheduler.Default);
        return false;
    }

    private static async Task<bool> PrintAsync(AnswerReader answer, string between)
    {
        var status = await answer.ReadHeadAsync(CancellationToken.None);
        var done = false;
        while (await answer.ReadLineAsync(CancellationToken.None) is { } line)
        {
            done |= line == "data: [DONE]";
            if (status != 200)
                Console.WriteLine(PrintedText.ForOutput(line));
            else if (ContentOf(line) is { } text)
                Console.Write(PrintedText.ForOutput(text) + between);
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
        try
        {
            using var document = JsonDocument.Parse(line.AsMemory(Data.Length));
            var root = document.RootElement;
            if (root.TryGetProperty("content", out var content))
                return content.GetString();
            if (!root.TryGetProperty("error", out var error))
                return null;
            var code = root.TryGetProperty("code", out var word) ? word.GetString() : null;
            return $"\n[error: {error.GetString()} ({code})]";
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            return null;
        }
    }
}
