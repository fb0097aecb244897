using System.Collections.ObjectModel;

namespace StreamingDaemon.Backends;

/// <summary>What the application asked for, as read from the handoff data. Its creator fills it; a backend
/// changes nothing in it, except by calling <see cref="ReleasePrompt"/>.</summary>
public record StreamRequest
{
    private static readonly ReadOnlyDictionary<string, ReadOnlyMemory<byte>> s_none = new(
        new Dictionary<string, ReadOnlyMemory<byte>>());

    private string? _requestId;

    /// <summary>Correlates logs, error events and the upstream's own logs. If unset, it is made on first read
    /// and then kept.</summary>
    public string RequestId
    {
        get => Volatile.Read(ref _requestId) ?? MakeRequestId();
        set => _requestId = value;
    }

    /// <summary>The application's user.</summary>
    public UserId UserId { get; set; }

    /// <summary>The single user prompt; used if <see cref="Messages"/> is null.</summary>
    public string? Prompt { get; set; }

    /// <summary>The whole conversation; takes precedence over <see cref="Prompt"/>.</summary>
    public Conversation? Messages { get; set; }

    /// <summary>A system message, put first unless <see cref="Messages"/> has instructions.</summary>
    public string? System { get; set; }

    /// <summary>The model, or null for the backend's default.</summary>
    public string? Model { get; set; }

    /// <summary>Maximum tokens of the answer, or null for the upstream's default. Above 0.</summary>
    public int? MaxTokens { get; set; }

    /// <summary>Sampling temperature, or null for the upstream's default.</summary>
    public double? Temperature { get; set; }

    /// <summary>The other parameters of the chat completions API: sound JSON by name, as the application
    /// wrote it.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Parameters { get; set; } = s_none;

    /// <summary>As <see cref="Parameters"/>, for fields that the daemon does not know. Empty if no backend
    /// passes them on.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> UnknownParameters { get; set; } = s_none;

    /// <summary>Sent to the upstream as header <c>X-Test-Pattern</c> if not empty.</summary>
    public string? TestPattern { get; set; }

    /// <summary>The kinds of delta that the stream can show: a backend sends no others. Either
    /// <see cref="DeltaKinds.Chunk"/> alone, or <see cref="DeltaKinds.Text"/> and perhaps more.</summary>
    public DeltaKinds Wanted { get; set; } = DeltaKinds.Text;

    /// <summary>How long after the call a retry may still begin; a later one is skipped. Zero or less: no
    /// retries.</summary>
    public TimeSpan RetryWindow { get; set; } = TimeSpan.FromSeconds(1);

    /// <summary>Drops the texts and parameters; from here on the backend does not read them. Call it once
    /// they are written, and again when no retry can need what was written.</summary>
    /// <param name="stillHeld">Bytes of the texts that the backend keeps in another form.</param>
    public void ReleasePrompt(int stillHeld = 0)
    {
        Prompt = System = null;
        Messages = null;
        Parameters = UnknownParameters = s_none;
        OnPromptReleased(stillHeld);
    }

    /// <summary>The texts were dropped.</summary>
    /// <param name="stillHeld">Bytes of the texts that the backend keeps in another form.</param>
    protected virtual void OnPromptReleased(int stillHeld)
    {
    }

    /// <summary>A request id, for a request that has none.</summary>
    protected virtual string NewRequestId() => "";

    private string MakeRequestId()
    {
        var made = NewRequestId();
        return Interlocked.CompareExchange(ref _requestId, made, null) ?? made;
    }
}
