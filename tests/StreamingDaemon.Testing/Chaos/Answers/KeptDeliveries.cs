using System.Collections.Concurrent;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>The site's end of deliveries: a receiver with faults, which checks what it gets.</summary>
/// <param name="seed">Seed of all choices.</param>
/// <param name="mayRepeat">A daemon may be killed before it has noted what was answered.</param>
public sealed partial class KeptDeliveries(int seed, bool mayRepeat) : IDisposable
{
    /// <summary>The daemons' <c>delivery.timeout_ms</c>.</summary>
    public const int TimeoutMs = 500;

    private static readonly int[] s_passing = [302, 408, 409, 429, 500, 503];

    private readonly DeliveryReceiver _receiver = new();
    private readonly Random _random = new(seed);
    private readonly ConcurrentDictionary<(string Id, int Call), Arrival> _arrived = new();
    private readonly ConcurrentDictionary<(string Id, int Call), int> _read = new();
    private readonly ConcurrentDictionary<string, bool> _refused = new();
    private readonly ConcurrentDictionary<string, string> _ids = new();
    private readonly ConcurrentDictionary<string, int> _complaints = new();
    private readonly ConcurrentDictionary<string, bool> _slow = new();
    private int _refusals;
    private bool _isOver;
    private bool _isAway;

    public Uri Url => _receiver.Url;

    /// <summary>What the receiver did with each attempt.</summary>
    public KeptAttempts Attempts { get; } = new();

    /// <summary>Answers that arrived, of those that had text.</summary>
    public int Arrived => _arrived.Count;

    /// <summary>Deliveries that were refused for good, and not sent again since.</summary>
    public int Refused => _refused.Count;

    /// <summary>How often one was refused for good.</summary>
    public int Refusals => Volatile.Read(ref _refusals);

    /// <summary>Deliveries that came, repeats included.</summary>
    public int Requests => _receiver.Requests;

    public IReadOnlyDictionary<string, int> Complaints => _complaints;

    /// <summary>A reader has read [DONE]: from now on the answer must arrive.</summary>
    public void ReadToDone(string id, int call, int pieces)
    {
        if (_read.GetOrAdd((id, call), pieces) != pieces)
            Complain($"two readers read [DONE] after {pieces} and {_read[(id, call)]} pieces");
    }

    /// <summary>Answers in all ways, and is away now and then.</summary>
    public async Task PlayAsync(Func<bool> goOn)
    {
        _receiver.Status = Judge;
        _receiver.BeforeAnswer = (delivery, _) => Draw(400) == 0 && !Volatile.Read(ref _isOver)
            ? HangAsync(delivery.Id) : Task.CompletedTask;
        while (goOn())
        {
            await Task.Delay(2_000 + Draw(8_000));
            // Not its listener closed: .NET's answers 200 to what it has not read then.
            Volatile.Write(ref _isAway, true);
            await Task.Delay(Draw(2_000));
            Volatile.Write(ref _isAway, false);
        }

        Volatile.Write(ref _isOver, true);
    }

    /// <summary>What was read to [DONE] and has not arrived, or not as it was read.</summary>
    public IEnumerable<string> Missing()
    {
        foreach (var (name, pieces) in _read)
        {
            if (!_arrived.TryGetValue(name, out var arrival))
                yield return $"{name} did not arrive: {(_ids.TryGetValue(name.Id, out var id) ? Attempts.Of(id) : "no attempt")}";
            else if (arrival.Pieces != pieces && !arrival.IsTruncated)
                yield return $"{name} arrived with {arrival.Pieces} of {pieces} pieces";
        }
    }

    public void Dispose() => _receiver.Dispose();

    private int Draw(int most)
    {
        lock (_random)
            return _random.Next(most);
    }

    private void Complain(string text) => _complaints.AddOrUpdate(text, 1, static (_, count) => count + 1);

    /// <summary>Longer than the daemon waits for an answer.</summary>
    private async Task HangAsync(string id)
    {
        _slow[id] = true;
        await Task.Delay(TimeoutMs * 3 / 2);
    }

    private int Judge(ReceivedDelivery delivery, int times)
    {
        var isSlow = _slow.TryRemove(delivery.Id, out _);
        var status = StatusOf(delivery, isSlow);
        var body = delivery.Body;
        _ids[body.GetProperty("request_id").GetString()!] = delivery.Id;
        var verdict = isSlow ? KeptVerdict.TooSlow : status switch
        {
            204 => KeptVerdict.Taken,
            503 or 429 => KeptVerdict.Away,
            422 => KeptVerdict.Refused,
            _ => KeptVerdict.Failed,
        };
        var age = DateTimeOffset.UtcNow - body.GetProperty("timings").GetProperty("ended_at").GetDateTimeOffset();
        Attempts.Add(delivery.Id, body.GetProperty("user_id").GetRawText(), (long)age.TotalMilliseconds, verdict);
        return status;
    }

    private int StatusOf(ReceivedDelivery delivery, bool isSlow)
    {
        if (Volatile.Read(ref _isAway))
            return 503;
        if (_refused.TryRemove(delivery.Id, out _) && !mayRepeat && !Volatile.Read(ref _isOver))
            Complain("sent again after it was refused");
        if (Arrive(delivery) is { } complaint)
            Complain(complaint);
        // The daemon does not read the status of a late answer.
        if (Volatile.Read(ref _isOver) || isSlow)
            return 204;
        if (Draw(100) == 0)
        {
            _refused[delivery.Id] = true;
            Interlocked.Increment(ref _refusals);
            return 422;
        }

        return Draw(20) == 0 ? s_passing[Draw(s_passing.Length)] : 204;
    }

    /// <summary>Checks a delivery: it must be a prefix of one call's answer, with the object of its handoff.
    /// </summary>
    private string? Arrive(ReceivedDelivery delivery)
    {
        var body = delivery.Body;
        var plan = KeptPlan.Of(body.GetProperty("delivery").GetProperty("plan").GetString()!);
        if (body.GetProperty("request_id").GetString() != plan.Id)
            return "the object of another handoff";
        var content = body.GetProperty("content").GetString()!;
        if (content.Length == 0)
        {
            // It was stopped before its first piece: its readers saw [DONE] and no call.
            _arrived.TryAdd((plan.Id, 0), new Arrival(delivery.Id, 0, false));
            return null;
        }

        if (!FirstPiece().Match(content).Groups[1].TryParse(out var call))
            return $"delivered: '{content[..Math.Min(content.Length, 40)]}'";
        var pieces = content.Count(c => c == '/') / 2;
        var isTruncated = body.TryGetProperty("truncated", out _);
        var text = plan.Text(call, pieces);
        if (isTruncated ? !text.StartsWith(content, StringComparison.Ordinal) : text != content)
            return $"delivered {pieces} pieces that are not those of the call";
        var arrival = _arrived.GetOrAdd((plan.Id, call), new Arrival(delivery.Id, pieces, isTruncated));
        return arrival.Id == delivery.Id ? null : "one call was delivered under two ids";
    }

    [GeneratedRegex(@"^\w+/(\d+)/1 ")]
    private static partial Regex FirstPiece();

    private sealed record Arrival(string Id, int Pieces, bool IsTruncated);
}

internal static class GroupExtensions
{
    public static bool TryParse(this Group group, out int value) =>
        int.TryParse(group.ValueSpan, System.Globalization.CultureInfo.InvariantCulture, out value);
}
