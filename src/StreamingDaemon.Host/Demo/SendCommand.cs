using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Demo;

/// <summary><c>send</c>: hands one socket to a running daemon and prints the stream as it comes.</summary>
internal static class SendCommand
{
    /// <returns>0 where the answer ended with [DONE], else 1.</returns>
    public static async Task<int> RunAsync(string socketPath, string? prompt, string? data, TextWriter output,
        CancellationToken cancellationToken)
    {
        using var client = HandoffClient.Open(socketPath, HandoffData(prompt, data));
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
