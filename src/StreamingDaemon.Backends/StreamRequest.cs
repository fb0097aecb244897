namespace StreamingDaemon.Backends;

/// <summary>What the application asked for, as read from the handoff data. Filled by whoever makes it; a
/// backend that has it changes nothing but what <see cref="ReleasePrompt"/> does.</summary>
public record StreamRequest
{
    private string? _requestId;

    /// <summary>Correlates logs, error events and the upstream's own logs. Where it was not set it is made
    /// when somebody asks, and stays.</summary>
    public string RequestId
    {
        get => Volatile.Read(ref _requestId) ?? MakeRequestId();
        set => _requestId = value;
    }

    /// <summary>The application's user, 0 where it named none.</summary>
    public long UserId { get; set; }

    /// <summary>The single user prompt; used where <see cref="Messages"/> is empty.</summary>
    public string? Prompt { get; set; }

    /// <summary>The whole conversation, oldest first; wins over <see cref="Prompt"/>.</summary>
    public IReadOnlyList<ChatTurn> Messages { get; set; } = [];

    /// <summary>A system message put before <see cref="Prompt"/>; ignored where <see cref="Messages"/> is
    /// set.</summary>
    public string? System { get; set; }

    /// <summary>The model, or null for the backend's default.</summary>
    public string? Model { get; set; }

    /// <summary>The most tokens of the answer, or null for the upstream's default. Above 0.</summary>
    public int? MaxTokens { get; set; }

    /// <summary>Sampling temperature, or null for the upstream's default.</summary>
    public double? Temperature { get; set; }

    /// <summary>Forwarded to the upstream as header <c>X-Test-Pattern</c> where not empty.</summary>
    public string? TestPattern { get; set; }

    /// <summary>How long from the call on a failed attempt may still be followed by another: a retry that
    /// would begin later is not made. Zero or less: none is.</summary>
    public TimeSpan RetryWindow { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Lets the texts go: from here on the backend does not read them. To be called when they are
    /// written, and again when no retry can need what was written.</summary>
    /// <param name="stillHeld">Bytes of them that the backend keeps in another form.</param>
    public void ReleasePrompt(int stillHeld = 0)
    {
        Prompt = System = null;
        Messages = [];
        OnPromptReleased(stillHeld);
    }

    /// <summary>The texts were let go.</summary>
    /// <param name="stillHeld">Bytes of them that the backend keeps in another form.</param>
    protected virtual void OnPromptReleased(int stillHeld)
    {
    }

    /// <summary>A request id where none was set.</summary>
    protected virtual string NewRequestId() => "";

    private string MakeRequestId()
    {
        var made = NewRequestId();
        return Interlocked.CompareExchange(ref _requestId, made, null) ?? made;
    }
}

/// <summary>One message of a conversation. <paramref name="Role"/> is passed on verbatim.</summary>
public sealed record ChatTurn(string Role, string Content);
