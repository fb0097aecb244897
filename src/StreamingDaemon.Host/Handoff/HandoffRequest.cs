using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// The handoff data: a JSON object that the application wrote into <c>X-Handoff-Data</c>. It is read
/// leniently, field by field: a field of a wrong type counts as absent.
/// </summary>
internal sealed record HandoffRequest : StreamRequest
{
    /// <summary>Most fields listed in a log line: it is for a person.</summary>
    internal const int MostNoted = 16;

    /// <summary>Longest name of such a field: the stream holds it until its end.</summary>
    private const int MaxNotedLength = 128;

    private RareFields? _rare;
    private AnswerFields? _answer;
    private long _ownNumber;

    public string? Backend
    {
        get => _rare?.Backend;
        set => Rare.Backend = value;
    }

    /// <summary>Name of the answer's format, or null for the site's.</summary>
    public string? Format
    {
        get => _rare?.Format;
        set => Rare.Format = value;
    }

    /// <summary>The extra events of the answer, or null for the site's.</summary>
    public DeltaKinds? Events
    {
        get => _rare?.Events;
        set => Rare.Events = value;
    }

    /// <summary>Whether the answer is kept, or null for the site's choice.</summary>
    public bool? Keep
    {
        get => _answer?.Keep;
        set => Answer.Keep = value;
    }

    /// <summary>Id of the kept answer that the client reads; null for a new one.</summary>
    public string? Resume
    {
        get => _answer?.Resume;
        set => Answer.Resume = value;
    }

    /// <summary>The last event of <see cref="Resume"/> that the client has; 0 if it has none.</summary>
    public int LastEventId
    {
        get => _answer?.LastEventId ?? 0;
        set => Answer.LastEventId = value;
    }

    /// <summary>Id of the kept answer that is to end.</summary>
    public string? Stop
    {
        get => _answer?.Stop;
        set => Answer.Stop = value;
    }

    /// <summary>Is it about an answer that is there, so that it needs no prompt?</summary>
    public bool NamesAnswer => Resume is not null || Stop is not null;

    /// <summary>Header lines for the response head: validated, each with its CRLF, in the order of the
    /// JSON.</summary>
    public ReadOnlyMemory<byte> ResponseHeaders
    {
        get => _rare?.ResponseHeaders ?? default;
        set => Rare.ResponseHeaders = value;
    }

    /// <summary>The object that is delivered with the answer, byte for byte; empty if there is none.
    /// </summary>
    public ReadOnlyMemory<byte> Delivery
    {
        get => _answer?.Delivery ?? default;
        set => Answer.Delivery = value;
    }

    /// <summary>Names of fields that were present but unusable, and count as absent; the first
    /// <see cref="MostNoted"/>.</summary>
    public IReadOnlyList<string> Unusable => _rare?.Unusable ?? (IReadOnlyList<string>)[];

    /// <summary>Whether there was no data at all: the module then sends one zero byte.</summary>
    public bool IsEmpty { get; init; }

    /// <summary>Names of fields that the daemon does not know; the first <see cref="MostNoted"/>.</summary>
    public IReadOnlyList<string> Unknown => _rare?.Unknown ?? (IReadOnlyList<string>)[];

    public bool HasPrompt => Messages is not null || !string.IsNullOrEmpty(Prompt);

    /// <summary>The client whose memory budget counts the prompt; null until it is known.</summary>
    public ClientStream? Client { get; set; }

    private RareFields Rare => _rare ??= new RareFields();

    private AnswerFields Answer => _answer ??= new AnswerFields();

    // A quarter more: the segments of a long body are not full, and the garbage collector needs room.
    protected override void OnPromptReleased(int stillHeld)
    {
        stillHeld += ResponseHeaders.Length + Delivery.Length;
        Client?.HoldRequest(stillHeld + (stillHeld / 4));
    }

    public override bool HoldAnswer(long bytes)
    {
        var kept = ResponseHeaders.Length + Delivery.Length;
        return Client?.HoldAnswer(kept + (kept / 4) + bytes) ?? true;
    }

    protected override string NewRequestId() => Handoff.RequestId.Of(OwnNumber());

    protected override ReadOnlyMemory<char> FormatRequestId(char[] room) =>
        room.AsMemory(0, Handoff.RequestId.Write(OwnNumber(), room));

    public void NoteUnusable(string field) => Note(field, ref Rare.Unusable);

    public void NoteUnknown(string field) => Note(field, ref Rare.Unknown);

    /// <summary>Sets a parameter, or removes it. The last one of a name counts, as in PHP and Go.</summary>
    public void SetParameter(string name, byte[]? json)
    {
        // The empty ones that every request begins with are of another type.
        var own = Parameters as OrderedDictionary<string, ReadOnlyMemory<byte>>;
        if (json is null)
            own?.Remove(name);
        else if (own is not null)
            own[name] = json;
        else
            Parameters = First(name, json);
    }

    /// <summary>Sets a parameter that the daemon does not know.</summary>
    public void SetUnknown(string name, byte[] json)
    {
        if (UnknownParameters is OrderedDictionary<string, ReadOnlyMemory<byte>> own)
            own[name] = json;
        else
            UnknownParameters = First(name, json);
    }

    private static void Note(string field, ref List<string>? fields)
    {
        if (field.Length > MaxNotedLength)
            field = field[..MaxNotedLength];
        fields ??= [];
        if (fields.Count < MostNoted && !fields.Contains(field))
            fields.Add(field);
    }

    private static OrderedDictionary<string, ReadOnlyMemory<byte>> First(string name, byte[] json) =>
        new() { [name] = json };

    /// <summary>The number in an id of the daemon's own; the same each time.</summary>
    private long OwnNumber()
    {
        if (Volatile.Read(ref _ownNumber) is not 0 and var number)
            return number;
        var next = Handoff.RequestId.NextNumber();
        return Interlocked.CompareExchange(ref _ownNumber, next, 0) is not 0 and var other ? other : next;
    }

    /// <summary>What most requests do not have, and take no memory for.</summary>
    private sealed class RareFields
    {
        public List<string>? Unusable;
        public List<string>? Unknown;

        public string? Backend { get; set; }

        public string? Format { get; set; }

        public DeltaKinds? Events { get; set; }

        public ReadOnlyMemory<byte> ResponseHeaders { get; set; }
    }

    /// <summary>What only requests of kept answers have.</summary>
    private sealed class AnswerFields
    {
        public bool? Keep { get; set; }

        public string? Resume { get; set; }

        public int LastEventId { get; set; }

        public string? Stop { get; set; }

        public ReadOnlyMemory<byte> Delivery { get; set; }
    }
}
