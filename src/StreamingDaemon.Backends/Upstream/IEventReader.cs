namespace StreamingDaemon.Backends.Upstream;

/// <summary>What one event of an upstream means.</summary>
internal enum EventKind
{
    /// <summary>A part of the answer, with or without text.</summary>
    Delta,

    /// <summary>The end marker: the answer is whole.</summary>
    Done,

    /// <summary>An error instead of, or beside, a part of the answer.</summary>
    Error,

    /// <summary>Not a JSON object.</summary>
    Malformed,
}

/// <summary>
/// Reads the events of one kind of upstream. Only structs implement it: as a type parameter, a struct's
/// methods are called directly, which saves a virtual call a token. Used by one stream at a time.
/// </summary>
internal interface IEventReader : IDisposable
{
    /// <summary>The end marker of a whole answer, for the log: "the upstream ended without …".</summary>
    static abstract string ExpectedEnd { get; }

    /// <summary>UTF-8 text of the last event, perhaps empty; valid until the next.</summary>
    ReadOnlyMemory<byte> Text { get; }

    /// <summary>True once the upstream said that the answer is whole: then its body may end without an end
    /// marker.</summary>
    bool IsFinished { get; }

    /// <summary>The upstream's name for the last <see cref="EventKind.Error"/>, or null. Never a message:
    /// messages quote prompts and keys.</summary>
    string? Error { get; }

    /// <summary>Reads one event. Never throws, whatever its data.</summary>
    /// <param name="eventType">"error", or "message" for any other type.</param>
    /// <param name="data">The event's data, several lines joined by LF; valid during the call.</param>
    EventKind Read(string eventType, ReadOnlySpan<byte> data);
}
