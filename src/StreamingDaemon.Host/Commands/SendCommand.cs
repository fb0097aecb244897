using System.Net.Sockets;
using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary><c>send</c>: hands one socket to a running daemon and prints the stream as it arrives.</summary>
internal static class SendCommand
{
    /// <summary>Idle timeout, used if the whole answer has no timeout. By default, a daemon sends a
    /// keep-alive every 15 s and ends an idle stream after 300 s.</summary>
    private static readonly TimeSpan s_silencePatience = TimeSpan.FromSeconds(CommandTree.DefaultSendTimeout);

    /// <param name="socketPath">The daemon's handoff socket.</param>
    /// <param name="data">The handoff data.</param>
    /// <param name="timeoutS">Timeout of the whole answer in seconds; 0 for none.</param>
    /// <param name="output">Gets the answer.</param>
    /// <param name="cancellationToken">Ends the command.</param>
    /// <returns>0 if the answer ended with [DONE], else 1.</returns>
    public static async Task<int> RunAsync(
        string socketPath, byte[] data, int timeoutS, TextWriter output, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(timeoutS > 0 ? TimeSpan.FromSeconds(timeoutS) : s_silencePatience);
        try
        {
            // On another thread: connect(2) and sendmsg(2) block if the daemon hangs, and the output blocks
            // if nobody reads it.
            return await Task.Run(() => ExchangeAsync(socketPath, data, output, () =>
            {
                if (timeoutS == 0)
                    limit.CancelAfter(s_silencePatience);
            }, limit.Token), limit.Token).WaitAsync(limit.Token);
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            CommandLine.Say(Console.Error, $"{socketPath}: " + (timeoutS > 0
                ? $"the answer did not end within {timeoutS} s (--timeout)"
                : $"nothing was sent for {s_silencePatience.TotalSeconds} s"));
            return ExitCode.Failure;
        }
        catch (IOException e)
        {
            CommandLine.Say(Console.Error, $"{socketPath}: {e.Message}");
            return ExitCode.Failure;
        }
    }

    private static async Task<int> ExchangeAsync(string socketPath, byte[] data, TextWriter output,
        Action heard, CancellationToken cancellationToken)
    {
        using var client = HandoffClient.Open(socketPath, data);
        var answer = new AnswerReader(client);
        var status = await answer.ReadHeadAsync(cancellationToken);
        if (status != 200)
            CommandLine.Say(Console.Error, $"HTTP status {status}");
        var done = false;
        while (await answer.ReadLineAsync(cancellationToken) is { } line)
        {
            heard();
            done |= line == "data: [DONE]";
            await output.WriteLineAsync(PrintedText.ForOutput(line));
            await output.FlushAsync(cancellationToken);
        }

        if (status == 200 && !done)
            throw new IOException("the answer ended before its [DONE]");
        return done ? ExitCode.Success : ExitCode.Failure;
    }

    /// <summary>The JSON object <paramref name="data"/> (or an empty one), with the prompt added.</summary>
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
