namespace StreamingDaemon.Testing.Chaos;

/// <summary>
/// One reader of a kept answer. As a page does, it asks until it has seen an event, leaves when it likes, and
/// reads on after the last event that it has.
/// </summary>
/// <param name="play">The answer, and who else reads it.</param>
/// <param name="asks">It asks for the answer; else it only resumes.</param>
public sealed class KeptReader(KeptPlay play, bool asks)
{
    private const int MostConnections = 60;
    private int _refusals;

    /// <summary>What it has got.</summary>
    public KeptTranscript Transcript { get; } = new(play.Plan);

    /// <summary>Its answer was not kept: it cannot read on.</summary>
    public bool IsUnkept { get; private set; }

    /// <summary>Reads to the answer's end, over as many connections as it likes.</summary>
    /// <param name="onHead">Called when it has a head.</param>
    /// <returns>Null, or the complaint.</returns>
    public async Task<string?> RunAsync(Action onHead)
    {
        for (var i = 1; i <= MostConnections; i++)
        {
            var leavesAfter = i > MostConnections / 2 || play.Draw(2) == 0 ? -1 : play.Draw(12);
            if (await ReadOnceAsync(leavesAfter, onHead) is { } verdict)
                return verdict.Length == 0 ? null : $"{play.Plan.Fate}: {verdict}";
            await Task.Delay(play.Draw(8) == 0 ? play.Draw(3_000) : play.Draw(300));
        }

        return $"{play.Plan.Fate}: no end after {MostConnections} connections";
    }

    /// <returns>Null to go on, empty at the end, or the complaint.</returns>
    private async Task<string?> ReadOnceAsync(int leavesAfter, Action onHead)
    {
        var request = asks && Transcript.Last == 0 ? play.Ask : play.ResumeAfter(Transcript.Last);
        var target = play.AnyTarget();
        using var client = target.HandOver(request, out var daemon);
        if (client is null)
            return null;
        play.Connected(1);
        KeptConnectionResult result;
        try
        {
            result = await KeptConnection.ReadAsync(
                client, Transcript, play.Plan.Id, leavesAfter, play.Draw(6) == 0 ? 10 : 0);
        }
        finally
        {
            play.Connected(-1);
        }

        IsUnkept |= result is { Status: 200, IsKept: false };
        play.World.Count(result.Status != 200 ? $"status {result.Status}" : IsUnkept ? "unkept"
            : result.Close == KeptClose.Left ? "left" : $"ended {Transcript.End} {Transcript.ErrorCode}");
        if (result.Status == 200)
            onHead();
        if (Transcript.HasTwoCalls && play.IsTroubled)
        {
            // Redis lost the answer, or its daemon died, and another reader asked again.
            play.World.Count("two calls, after a fault");
            return "";
        }

        if (result.Complaint is { } complaint)
            return !result.IsBroken || target.Daemon == daemon ? $"{complaint} ({request})" : IsUnkept ? "" : null;
        return result.Close == KeptClose.Refused ? Refused(result, request) : Read(result, request);
    }

    private string? Read(KeptConnectionResult result, string request)
    {
        if (Transcript.Call != 0 && !play.IsCall(Transcript.Call) && !play.IsTroubled)
            return $"two calls for one answer ({request})";
        if (IsUnkept && !play.IsTroubled)
            return $"not kept ({request})";
        if (result.Close == KeptClose.Left)
            return IsUnkept ? "" : null;
        return Transcript.End == KeptEnd.Done ? Done() : Failed();
    }

    private string? Refused(KeptConnectionResult result, string request)
    {
        var isEmpty = play.Plan.MayFailEmpty || play.MayBeOrphaned;
        return result.Status switch
        {
            // The model failed before it said anything: a page asks again.
            >= 500 when isEmpty => ++_refusals < 10 ? null : "",
            // Or what a resume asks for failed, grew too long, or died with its daemon or its Redis.
            404 when isEmpty && Transcript.Last == 0 => ++_refusals < 5 ? null : "",
            404 when play.Plan.Fate == KeptFate.TooLong || play.IsTroubled => "",
            // The answer was begun again under its id, and has fewer events.
            204 when play.IsTroubled => "",
            503 when play.IsTroubled => null,
            >= 500 when play.IsTroubled => "",
            _ => $"a status {result.Status}: {result.Body.TrimEnd()} ({request})",
        };
    }

    private string Done()
    {
        var (plan, pieces) = (play.Plan, Transcript.Pieces);
        if (play.IsStopped && pieces < plan.Pieces)
            return "";
        var isWhole = plan.Fate is KeptFate.Whole or KeptFate.Fast or KeptFate.Slow or KeptFate.TooLong
            or KeptFate.FailsEmpty;
        return isWhole && pieces == plan.Pieces ? "" : $"[DONE] after {pieces} of {plan.Pieces} pieces";
    }

    private string Failed()
    {
        var mayFail = play.Plan.Fate switch
        {
            _ when play.IsTroubled => true,
            _ when Transcript.ErrorCode == "answer_orphaned" => play.MayBeOrphaned,
            KeptFate.Truncated or KeptFate.Reset or KeptFate.ErrorEvent or KeptFate.Silent => true,
            // Another daemon no longer has it.
            KeptFate.TooLong => play.World.IsShared,
            // A head was sent before the model failed.
            KeptFate.FailsEmpty => Transcript.Pieces == 0,
            _ => false,
        };
        return mayFail ? "" : $"{Transcript.ErrorCode} after {Transcript.Pieces} of {play.Plan.Pieces} pieces";
    }
}
