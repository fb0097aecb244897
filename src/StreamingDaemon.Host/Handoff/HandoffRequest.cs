using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// The handoff data: a JSON object that the application wrote into <c>X-Handoff-Data</c>. It is read
/// leniently, field by field: a field of a wrong type counts as absent. Unknown fields, for example
/// <c>backend_url</c>, are ignored.
/// </summary>
internal sealed record HandoffRequest : StreamRequest
{
    private List<string>? _unusable;

    /// <summary>True if the handoff names a user; 0 is a user too.</summary>
    public bool HasUserId { get; set; }

    public string? Backend { get; set; }

    /// <summary>Header lines for the response head: validated, each with its CRLF, in the order of the
    /// JSON.</summary>
    public ReadOnlyMemory<byte> ResponseHeaders { get; set; }

    /// <summary>Names of fields that were present but unusable, and count as absent.</summary>
    public IReadOnlyList<string> Unusable => _unusable ?? (IReadOnlyList<string>)[];

    /// <summary>Whether there was no data at all: the module then sends one zero byte.</summary>
    public bool IsEmpty { get; init; }

    public bool HasPrompt => Messages.Count > 0 || !string.IsNullOrEmpty(Prompt);

    /// <summary>The client whose memory budget counts the prompt; null until it is known.</summary>
    public ClientStream? Client { get; set; }

    // A quarter more: the segments of a long body are not full, and the garbage collector needs room.
    protected override void OnPromptReleased(int stillHeld) =>
        Client?.HoldRequest(stillHeld + (stillHeld / 4));

    protected override string NewRequestId() => Handoff.RequestId.Next();

    public void NoteUnusable(string field) => (_unusable ??= []).Add(field);
}
