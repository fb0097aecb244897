using System.Collections.ObjectModel;
using System.Text.Json;

namespace StreamingDaemon.Backends;

/// <summary>What the application asked for, as read from the handoff data. Its creator fills it; a backend
/// changes nothing in it, except by calling <see cref="ReleasePrompt"/>.</summary>
public record StreamRequest
{
    private static readonly ReadOnlyDictionary<string, ReadOnlyMemory<byte>> s_none = new(
        new Dictionary<string, ReadOnlyMemory<byte>>());

    private string? _requestId;
    private RareFields? _rare;

    /// <summary>Correlates logs, error events and the upstream's own logs. If unset, it is made on first read
    /// and then kept.</summary>
    public string RequestId
    {
        get => Volatile.Read(ref _requestId) ?? MakeRequestId();
        set => _requestId = value;
    }

    /// <summary>False while nothing has set or read <see cref="RequestId"/>.</summary>
    public bool HasRequestId => Volatile.Read(ref _requestId) is not null;

    /// <summary><see cref="RequestId"/> for a line of a log: an id that nothing else has read is not made a
    /// string.</summary>
    /// <param name="room">May be used for the result; 64 characters or more.</param>
    public ReadOnlyMemory<char> LoggedRequestId(char[] room) =>
        Volatile.Read(ref _requestId) is { } made ? made.AsMemory() : FormatRequestId(room);

    /// <summary>The W3C trace context of the application's request, for the log; null if it sent none.
    /// </summary>
    public string? Traceparent
    {
        get => _rare?.Traceparent;
        set => _rare = Rare with { Traceparent = value };
    }

    /// <summary>The application's user.</summary>
    public UserId UserId { get; set; }

    /// <summary>The single user prompt; used if <see cref="Messages"/> is null.</summary>
    public string? Prompt { get; set; }

    /// <summary>The whole conversation; takes precedence over <see cref="Prompt"/>.</summary>
    public Conversation? Messages { get; set; }

    /// <summary>A system message, put first unless <see cref="Messages"/> has instructions.</summary>
    public string? System
    {
        get => _rare?.System;
        set => _rare = Rare with { System = value };
    }

    /// <summary>The model, or null for the backend's default.</summary>
    public string? Model { get; set; }

    /// <summary>Maximum tokens of the answer, or null for the upstream's default. Above 0.</summary>
    public long? MaxTokens
    {
        get => _rare?.MaxTokens;
        set => _rare = Rare with { MaxTokens = value > 0 ? value : null };
    }

    /// <summary>Sampling temperature, or null for the upstream's default.</summary>
    public double? Temperature
    {
        get => _rare?.Temperature;
        set => _rare = Rare with { Temperature = value is { } t && double.IsNaN(t) ? null : value };
    }

    /// <summary>The other parameters of the chat completions API, by name: valid JSON, as the application
    /// wrote it.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> Parameters
    {
        get => _rare?.Parameters ?? s_none;
        set => _rare = Rare with { Parameters = value };
    }

    /// <summary>As <see cref="Parameters"/>, for fields that the daemon does not know. Empty if no backend
    /// passes them on.</summary>
    public IReadOnlyDictionary<string, ReadOnlyMemory<byte>> UnknownParameters
    {
        get => _rare?.UnknownParameters ?? s_none;
        set => _rare = Rare with { UnknownParameters = value };
    }

    /// <summary>Sent to the upstream as header <c>X-Test-Pattern</c> if not empty.</summary>
    public string? TestPattern
    {
        get => _rare?.TestPattern;
        set => _rare = Rare with { TestPattern = value };
    }

    /// <summary>The kinds of delta that the stream can show: a backend sends no others. Either
    /// <see cref="DeltaKinds.Chunk"/> alone, or <see cref="DeltaKinds.Text"/> and perhaps more. A backend
    /// whose upstream has no chunks of the chat completions API sends the other kinds instead.</summary>
    public DeltaKinds Wanted { get; set; } = DeltaKinds.Text;

    /// <summary>Those of <see cref="Wanted"/> that the client is not shown: an answer that holds nothing else
    /// is empty.</summary>
    public DeltaKinds Unshown { get; set; }

    /// <summary>Whether the client is shown this kind of delta.</summary>
    public bool Shows(DeltaKinds kind) => (Wanted & ~Unshown & kind) != 0;

    /// <summary>How long after the call a retry may still begin; a later one is skipped. Zero or less: no
    /// retries.</summary>
    public TimeSpan RetryWindow { get; set; } = TimeSpan.FromSeconds(1);

    private RareFields Rare => _rare ?? RareFields.None;

    /// <summary>True if the application asks for the token counts of a stream of chunks
    /// (<c>stream_options.include_usage</c>).</summary>
    public bool AsksForUsage()
    {
        if (!Parameters.TryGetValue("stream_options", out var json))
            return false;
        var reader = new Utf8JsonReader(json.Span, JsonText.Options);
        if (!reader.Read() || reader.TokenType != JsonTokenType.StartObject)
            return false;
        var asks = false;
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            var isOurs = JsonText.Equals(ref reader, "include_usage"u8);
            reader.Read();
            asks = isOurs ? reader.TokenType == JsonTokenType.True : asks;
            reader.Skip();
        }

        return asks;
    }

    /// <summary>Drops the texts and parameters; from here on the backend does not read them. Call it once
    /// they are written, and again when no retry can need what was written.</summary>
    /// <param name="stillHeld">Bytes of the texts that the backend keeps in another form.</param>
    public void ReleasePrompt(int stillHeld = 0)
    {
        Prompt = null;
        Messages = null;
        _rare = _rare?.WithoutTexts();
        OnPromptReleased(stillHeld);
    }

    /// <summary>Says how many bytes of the answer the backend holds, beside what each stream costs. Call it
    /// after the texts were dropped for good.</summary>
    /// <returns>False if streams hold far too much: the backend must hold no more.</returns>
    public virtual bool HoldAnswer(long bytes) => true;

    /// <summary>The texts were dropped.</summary>
    /// <param name="stillHeld">Bytes of the texts that the backend keeps in another form.</param>
    protected virtual void OnPromptReleased(int stillHeld)
    {
    }

    /// <summary>A request id, for a request that has none.</summary>
    protected virtual string NewRequestId() => "";

    /// <summary>The request id that <see cref="NewRequestId"/> returns, now or later.</summary>
    /// <param name="room">May be used for the result.</param>
    protected virtual ReadOnlyMemory<char> FormatRequestId(char[] room) => RequestId.AsMemory();

    private string MakeRequestId()
    {
        var made = NewRequestId();
        return Interlocked.CompareExchange(ref _requestId, made, null) ?? made;
    }

    /// <summary>What most requests do not have, and take no memory for.</summary>
    private sealed record RareFields
    {
        public static RareFields None { get; } = new();

        public string? Traceparent { get; init; }

        public string? System { get; init; }

        public IReadOnlyDictionary<string, ReadOnlyMemory<byte>>? Parameters { get; init; }

        public IReadOnlyDictionary<string, ReadOnlyMemory<byte>>? UnknownParameters { get; init; }

        public string? TestPattern { get; init; }

        public long? MaxTokens { get; init; }

        public double? Temperature { get; init; }

        public RareFields? WithoutTexts() => Traceparent is null && TestPattern is null
            ? null
            : new RareFields { Traceparent = Traceparent, TestPattern = TestPattern };
    }
}
