using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>How one connection of a reader ended.</summary>
public enum KeptClose
{
    /// <summary>The daemon refused with a status; its body was whole.</summary>
    Refused,

    /// <summary>The reader left.</summary>
    Left,

    /// <summary>The daemon ended the connection.</summary>
    Ended,
}

/// <summary>One connection of a reader, from the handoff to its end.</summary>
/// <param name="Close">How it ended.</param>
/// <param name="Status">The status; 0 if there was none.</param>
/// <param name="IsKept">True if the head names the answer.</param>
/// <param name="Body">Body of a status.</param>
/// <param name="Complaint">What was wrong, or null.</param>
/// <param name="IsBroken">What was wrong is that the connection ended too early: a daemon that dies does that.
/// </param>
public sealed record KeptConnectionResult(KeptClose Close, int Status, bool IsKept, string Body = "",
    string? Complaint = null, bool IsBroken = false);

/// <summary>Reads the response of one handoff into a transcript.</summary>
public static class KeptConnection
{
    private const int Reset = -1;
    private const int Late = -2;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(60);

    /// <param name="client">The reader's end of the handed over socket.</param>
    /// <param name="transcript">What it has got so far.</param>
    /// <param name="id">The answer's id.</param>
    /// <param name="leavesAfter">Events after which it leaves; a negative number is never.</param>
    /// <param name="pauseMs">Pause before each read: a slow reader.</param>
    public static async Task<KeptConnectionResult> ReadAsync(
        Socket client, KeptTranscript transcript, string id, int leavesAfter, int pauseMs)
    {
        using var limit = new CancellationTokenSource(s_patience);
        var buffer = new byte[4096];
        var text = new StringBuilder();
        var (status, isKept, events) = (0, false, 0);
        while (true)
        {
            var read = await ReceiveAsync(client, buffer, limit.Token);
            if (read == Late)
            {
                return new KeptConnectionResult(KeptClose.Ended, status, isKept,
                    Complaint: $"no end within a minute, after event {transcript.Last}");
            }

            if (read <= 0)
                return Closed(status, isKept, text.ToString(), transcript, isReset: read == Reset);
            // All of it is ASCII.
            text.Append(Encoding.ASCII.GetString(buffer, 0, read));
            if (status == 0 && !TryReadHead(text, id, out status, out isKept))
                continue;
            if (status != 200)
                continue;
            foreach (var one in TakeEvents(text))
            {
                if (transcript.Take(one, isKept) is { } complaint)
                    return new KeptConnectionResult(KeptClose.Ended, status, isKept, Complaint: complaint);
                events++;
            }

            if (leavesAfter >= 0 && events >= leavesAfter && transcript.End == KeptEnd.None)
                return new KeptConnectionResult(KeptClose.Left, status, isKept);
            if (pauseMs > 0)
                await Task.Delay(pauseMs);
        }
    }

    private static async Task<int> ReceiveAsync(Socket client, byte[] buffer, CancellationToken limit)
    {
        try
        {
            return await client.ReceiveAsync(buffer, limit);
        }
        catch (SocketException)
        {
            return Reset;
        }
        catch (OperationCanceledException)
        {
            return Late;
        }
    }

    private static bool TryReadHead(StringBuilder text, string id, out int status, out bool isKept)
    {
        (status, isKept) = (0, false);
        var all = text.ToString();
        var end = all.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
            return false;
        status = int.Parse(all.AsSpan(9, 3), System.Globalization.CultureInfo.InvariantCulture);
        isKept = all[..end].Contains($"\r\nX-Answer-Id: {id}", StringComparison.Ordinal);
        text.Remove(0, end + 4);
        return true;
    }

    private static List<string> TakeEvents(StringBuilder text)
    {
        var all = text.ToString();
        var whole = all.LastIndexOf("\n\n", StringComparison.Ordinal);
        if (whole < 0)
            return [];
        text.Remove(0, whole + 2);
        return [.. all[..whole].Split("\n\n")];
    }

    private static KeptConnectionResult Closed(
        int status, bool isKept, string rest, KeptTranscript transcript, bool isReset)
    {
        if (status == 0)
            return Broken(0, false, $"no response head in {rest.Length} bytes");
        if (status != 200)
        {
            var isWhole = status == 204 ? rest.Length == 0 : rest.EndsWith("}\n", StringComparison.Ordinal);
            return isWhole ? new KeptConnectionResult(KeptClose.Refused, status, isKept, rest)
                : Broken(status, isKept, $"a status {status} without its body: '{rest}'");
        }

        return rest.Length > 0 ? Broken(status, isKept, $"cut inside an event: '{rest[..Math.Min(rest.Length, 40)]}'")
            : transcript.End == KeptEnd.None ? Broken(status, isKept, $"no end after event {transcript.Last}")
            : isReset ? Broken(status, isKept, "a reset after the end")
            : new KeptConnectionResult(KeptClose.Ended, status, isKept);
    }

    private static KeptConnectionResult Broken(int status, bool isKept, string complaint) =>
        new(KeptClose.Ended, status, isKept, Complaint: complaint, IsBroken: true);
}
