using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// The handoff data: a JSON object that the application wrote into <c>X-Handoff-Data</c>. Read leniently,
/// field by field: a field of a wrong type is as if absent, unknown fields (<c>backend_url</c> among them)
/// are ignored.
/// </summary>
internal sealed record HandoffRequest : StreamRequest
{
    private List<string>? _unusable;

    /// <summary>Is a user named? 0 is one too.</summary>
    public bool HasUserId { get; set; }

    public string? Backend { get; set; }

    /// <summary>Lines for the response head, each ended by CRLF, validated, in the document's
    /// order.</summary>
    public ReadOnlyMemory<byte> ResponseHeaders { get; set; }

    /// <summary>Fields that were there, and are as if absent because they cannot be used.</summary>
    public IReadOnlyList<string> Unusable => _unusable ?? (IReadOnlyList<string>)[];

    public bool HasPrompt => Messages.Count > 0 || !string.IsNullOrEmpty(Prompt);

    /// <summary>Told what the prompt still takes of memory.</summary>
    public ClientStream? Client { get; set; }

    // A quarter more: pieces of a long body are not filled to their end, and the collector needs room.
    protected override void OnPromptReleased(int stillHeld) =>
        Client?.HoldRequest(stillHeld + (stillHeld / 4));

    protected override string NewRequestId() => Handoff.RequestId.Next();

    public void NoteUnusable(string field) => (_unusable ??= []).Add(field);
}
