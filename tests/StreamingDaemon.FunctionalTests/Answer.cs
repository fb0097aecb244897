using System.Text;
using System.Text.Json;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A whole answer, parsed strictly: throws if any byte is unexpected.</summary>
internal sealed record Answer(string Head, IReadOnlyList<string> Events, string Raw)
{
    public const string StreamHead =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
        + "Connection: close\r\nX-Accel-Buffering: no\r\n\r\n";

    private const string Data = "data: ";
    private const string Done = Data + "[DONE]";

    public string StatusLine => Head.Split("\r\n")[0];

    public bool IsDone => Events.Count > 0 && Events[^1] == Done;

    public string Body => Raw[Head.Length..];

    public IReadOnlyList<string> Contents => [.. Events.Where(e => e != Done && Has(e, "content"))
        .Select(e => Get(e, "content"))];

    public string? Error => Events.Where(e => e != Done && Has(e, "error")).Select(e => Get(e, "error"))
        .SingleOrDefault();

    public static Answer Parse(byte[] bytes)
    {
        var raw = new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
        var end = raw.IndexOf("\r\n\r\n", StringComparison.Ordinal);
        if (end < 0)
            throw new InvalidDataException($"no response head: '{raw}'");
        var head = raw[..(end + 4)];
        var body = raw[(end + 4)..];
        if (!head.Contains("text/event-stream", StringComparison.Ordinal))
            return new Answer(head, [], raw);
        if (body.Length > 0 && !body.EndsWith("\n\n", StringComparison.Ordinal))
            throw new InvalidDataException($"cut inside an event: '{body}'");
        return new Answer(head, body.Split("\n\n", StringSplitOptions.RemoveEmptyEntries), raw);
    }

    private static bool Has(string ev, string name) =>
        ev.StartsWith(Data, StringComparison.Ordinal)
        && JsonDocument.Parse(ev[Data.Length..]).RootElement.TryGetProperty(name, out _);

    private static string Get(string ev, string name) =>
        JsonDocument.Parse(ev[Data.Length..]).RootElement.GetProperty(name).GetString()!;
}
