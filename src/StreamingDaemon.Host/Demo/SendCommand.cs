using System.Net.Sockets;
using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Demo;

/// <summary><c>send</c>: hands one socket to a running daemon and prints the stream as it comes.</summary>
internal static class SendCommand
{
    /// <param name="socketPath">Of the daemon.</param>
    /// <param name="data">What is handed over.</param>
    /// <param name="timeoutS">Seconds for all of it, or 0.</param>
    /// <param name="output">Takes the answer.</param>
    /// <param name="cancellationToken">Ends it.</param>
    /// <returns>0 where the answer ended with [DONE], else 1.</returns>
    public static async Task<int> RunAsync(
        string socketPath, byte[] data, int timeoutS, TextWriter output, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        if (timeoutS > 0)
            limit.CancelAfter(TimeSpan.FromSeconds(timeoutS));
        try
        {
            // A daemon that stands still with a full queue holds connect(2) for as long.
            using var client = await Task.Run(() => HandoffClient.Open(socketPath, data), limit.Token)
                .WaitAsync(limit.Token);
            return await PrintAsync(client, output, limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            CommandLine.Say(Console.Error,
                $"{socketPath}: the answer did not end within {timeoutS} s (--timeout)");
            return ExitCode.Failure;
        }
    }

    private static async Task<int> PrintAsync(
        Socket client, TextWriter output, CancellationToken cancellationToken)
    {
        var answer = new AnswerReader(client);
        var status = await answer.ReadHeadAsync(cancellationToken);
        if (status != 200)
        {
            await Console.Error.WriteLineAsync(status == 0
                ? "the daemon closed the connection without an answer"
                : $"HTTP status {status}");
        }

        var done = false;
        while (await answer.ReadLineAsync(cancellationToken) is { } line)
        {
            done |= line == "data: [DONE]";
            await output.WriteLineAsync(line);
            await output.FlushAsync(cancellationToken);
        }

        return done ? ExitCode.Success : ExitCode.Failure;
    }

    /// <summary>The JSON of <paramref name="data"/>, with the prompt put into it.</summary>
    internal static byte[] HandoffData(string? prompt, string? data)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            if (prompt is not null)
                json.WriteString("prompt", prompt);
            if (data is not null)
            {
                using var document = JsonDocument.Parse(data);
                foreach (var property in document.RootElement.EnumerateObject())
                {
                    if (prompt is null || property.Name != "prompt")
                        property.WriteTo(json);
                }
            }

            json.WriteEndObject();
        }

        return buffer.ToArray();
    }
}
