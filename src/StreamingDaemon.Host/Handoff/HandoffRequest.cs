using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Handoff;

/// <summary>
/// The handoff data: a JSON object that the application wrote into <c>X-Handoff-Data</c>. Read leniently,
/// field by field: a field of a wrong type is as if absent, unknown fields (<c>backend_url</c> among them)
/// are ignored.
/// </summary>
internal sealed record HandoffRequest
{
    /// <summary>Null where none is named; 0 is a user.</summary>
    public long? UserId { get; init; }
    public string? Prompt { get; init; }
    public IReadOnlyList<ChatTurn> Messages { get; init; } = [];
    public string? System { get; init; }
    public string? Model { get; init; }
    public int? MaxTokens { get; init; }
    public double? Temperature { get; init; }

    /// <summary>Made safe for headers and logs; generated where the application sent none.</summary>
    public string RequestId { get; init; } = "";
    public string? TestPattern { get; init; }
    public string? Backend { get; init; }

    /// <summary>Lines for the response head, each ended by CRLF, validated, in the document's
    /// order.</summary>
    public ReadOnlyMemory<byte> ResponseHeaders { get; init; }

    /// <summary>Fields that were there, and are as if absent because they cannot be used.</summary>
    public IReadOnlyList<string> Unusable { get; init; } = [];

    public bool HasPrompt => Messages.Count > 0 || !string.IsNullOrEmpty(Prompt);

    /// <param name="retryWindow">See <see cref="StreamRequest.RetryWindow"/>.</param>
    public StreamRequest ToStreamRequest(TimeSpan retryWindow) => new()
    {
        RequestId = RequestId,
        UserId = UserId ?? 0,
        Prompt = Prompt,
        Messages = Messages,
        System = System,
        Model = Model,
        MaxTokens = MaxTokens,
        Temperature = Temperature,
        TestPattern = TestPattern,
        RetryWindow = retryWindow,
    };
}
