namespace StreamingDaemon.Backends;

/// <summary>What the application asked for, as read from the handoff data.</summary>
public sealed record StreamRequest
{
    /// <summary>Correlates logs, error events and the upstream's own logs.</summary>
    public required string RequestId { get; init; }

    /// <summary>The application's user, 0 where it named none.</summary>
    public long UserId { get; init; }

    /// <summary>The single user prompt; used where <see cref="Messages"/> is empty.</summary>
    public string? Prompt { get; init; }

    /// <summary>The whole conversation, oldest first; wins over <see cref="Prompt"/>.</summary>
    public IReadOnlyList<ChatTurn> Messages { get; init; } = [];

    /// <summary>A system message put before <see cref="Prompt"/>; ignored where <see cref="Messages"/> is
    /// set.</summary>
    public string? System { get; init; }

    /// <summary>The model, or null for the backend's default.</summary>
    public string? Model { get; init; }

    /// <summary>The most tokens of the answer, or null for the upstream's default. Above 0.</summary>
    public int? MaxTokens { get; init; }

    /// <summary>Sampling temperature, or null for the upstream's default.</summary>
    public double? Temperature { get; init; }

    /// <summary>Forwarded to the upstream as header <c>X-Test-Pattern</c> where not empty.</summary>
    public string? TestPattern { get; init; }

    /// <summary>How long from the call on a failed attempt may still be followed by another: a retry that
    /// would begin later is not made. Zero or less: none is.</summary>
    public TimeSpan RetryWindow { get; init; } = TimeSpan.FromSeconds(1);
}

/// <summary>One message of a conversation. <paramref name="Role"/> is passed on verbatim.</summary>
public sealed record ChatTurn(string Role, string Content);
