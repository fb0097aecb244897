namespace StreamingDaemon.Testing.Chaos;

/// <summary>One answer of the chaos: what all its readers and stops share.</summary>
/// <param name="world">Where it is played.</param>
/// <param name="plan">The answer.</param>
/// <param name="random">Its choices.</param>
public sealed class KeptPlay(KeptWorld world, KeptPlan plan, Random random)
{
    private readonly int _user = random.Next(100);
    private readonly string _format = random.Next(4) == 0 ? "openai" : "text";
    private int _call;
    private bool _isStopped;
    private int _connected;
    private long _aloneMs;
    private long _longestAlone;

    public KeptWorld World => world;

    public KeptPlan Plan => plan;

    /// <summary>When it began, as <see cref="Environment.TickCount64"/>.</summary>
    public long BeganMs { get; } = Environment.TickCount64;

    /// <summary>The handoff that asks for it, or joins it.</summary>
    public string Ask => $$"""
        {"prompt":"{{plan.Prompt}}","keep":true,"request_id":"{{plan.Id}}","user_id":{{_user}},"format":"{{_format}}",
        "delivery":{"plan":"{{plan.Prompt}}"} }
        """;

    public string StopIt => $$"""{"stop":"{{plan.Id}}","user_id":{{_user}}}""";

    /// <summary>Somebody has asked for its end.</summary>
    public bool IsStopped
    {
        get => Volatile.Read(ref _isStopped);
        set => Volatile.Write(ref _isStopped, value);
    }

    /// <summary>It had no reader for about as long as that may be.</summary>
    public bool MayBeOrphaned
    {
        get
        {
            lock (random)
                return _longestAlone >= (KeptWorld.OrphanS * 1000) - 300;
        }
    }

    /// <summary>What went wrong around it excuses what a reader got.</summary>
    public bool IsTroubled => world.WasTroubledSince(BeganMs);

    public string ResumeAfter(int last) => $$"""
        {"resume":"{{plan.Id}}","user_id":{{_user}},"format":"{{_format}}"{{(last == 0 ? "" : $",\"last_event_id\":{last}")}}}
        """;

    /// <summary>All readers must get the answer of one call.</summary>
    public bool IsCall(int call)
    {
        var first = Interlocked.CompareExchange(ref _call, call, 0);
        return first == 0 || first == call;
    }

    public int Draw(int most)
    {
        lock (random)
            return random.Next(most);
    }

    public KeptTarget AnyTarget() => world.Targets[Draw(world.Targets.Count)];

    /// <summary>A reader comes (1) or leaves (-1).</summary>
    public void Connected(int change)
    {
        lock (random)
        {
            var now = Environment.TickCount64;
            if (_connected == 0 && _aloneMs != 0)
                _longestAlone = Math.Max(_longestAlone, now - _aloneMs);
            _connected += change;
            _aloneMs = _connected == 0 ? now : 0;
        }
    }

    /// <summary>Plays it to the end of its last reader.</summary>
    /// <returns>The readers, and their complaints.</returns>
    public async Task<(IReadOnlyList<KeptReader> Readers, IReadOnlyList<string> Complaints)> RunAsync()
    {
        var begun = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        var readers = new List<KeptReader> { new(this, asks: true) };
        var playing = new List<Task<string?>> { readers[0].RunAsync(() => begun.TrySetResult()) };
        for (var more = Draw(4); more > 0; more--)
        {
            var reader = new KeptReader(this, asks: Draw(2) == 0);
            readers.Add(reader);
            playing.Add(LaterAsync(reader, begun.Task, playing[0]));
        }

        if (Draw(7) == 0)
            playing.Add(StopAsync(begun.Task, playing[0]));
        var complaints = (await Task.WhenAll(playing)).OfType<string>().ToList();
        if (complaints.Count == 0 && Draw(3) == 0)
            complaints.AddRange(await ReadAgainAsync(readers));
        return (readers, complaints);
    }

    private async Task<string?> LaterAsync(KeptReader reader, Task begun, Task first)
    {
        await Task.WhenAny(begun, first);
        await Task.Delay(Draw((plan.Pieces * plan.PauseMs) + 200));
        return await reader.RunAsync(static () => { });
    }

    private async Task<string?> StopAsync(Task begun, Task first)
    {
        await Task.WhenAny(begun, first);
        await Task.Delay(Draw((plan.Pieces * plan.PauseMs) + 100));
        // Before it is asked: a reader may know the end before this client does.
        IsStopped = true;
        var target = AnyTarget();
        using var client = target.HandOver(StopIt, out var daemon);
        if (client is null)
            return null;
        world.Count("stops");
        var transcript = new KeptTranscript(plan);
        var result = await KeptConnection.ReadAsync(client, transcript, plan.Id, -1, 0);
        if (result.Complaint is { } complaint && transcript.Last == 0 && result.Status != 200)
            return target.Daemon != daemon ? null : $"{complaint} ({StopIt})";
        return result.Status switch
        {
            200 => null,
            404 when plan.Fate == KeptFate.TooLong || plan.MayFailEmpty || IsTroubled => null,
            503 when IsTroubled => null,
            _ => $"{plan.Fate}: a status {result.Status} ({StopIt})",
        };
    }

    /// <summary>A finished answer is read again from the beginning; who has all of it is told so.</summary>
    private async Task<IReadOnlyList<string>> ReadAgainAsync(IReadOnlyList<KeptReader> readers)
    {
        var whole = readers.FirstOrDefault(reader => reader is { IsUnkept: false, Transcript.End: KeptEnd.Done });
        if (whole is null || plan.Fate == KeptFate.TooLong)
            return [];
        var late = new KeptReader(this, asks: false);
        var complaint = await late.RunAsync(static () => { });
        if (complaint is null && late.Transcript.Last != whole.Transcript.Last && !IsTroubled)
            complaint = $"{late.Transcript.Last} events, and {whole.Transcript.Last} before";
        if (complaint is not null)
            return [$"read again: {complaint}"];
        var target = AnyTarget();
        using var client = target.HandOver(ResumeAfter(whole.Transcript.Last), out _);
        if (client is null)
            return [];
        var transcript = new KeptTranscript(plan);
        var result = await KeptConnection.ReadAsync(client, transcript, plan.Id, -1, 0);
        // Another daemon may learn of the end some ms after the events: then the stream is empty.
        var isEmpty = world.IsShared && result is { Status: 200, IsBroken: true } && transcript.Last == 0;
        return result is { Status: 204, Complaint: null } || isEmpty || IsTroubled ? []
            : [$"a status {result.Status} after all of it: {result.Complaint}"];
    }
}
