namespace StreamingDaemon.Backends.Upstream;

/// <summary>What one event of an upstream means.</summary>
internal enum EventKind
{
    /// <summary>A part of the answer, with or without anything to show.</summary>
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
    /// <summary>The name of an event that has no name of its own (WHATWG HTML, section 9.2).</summary>
    const string MessageEvent = "message";

    /// <summary>The name of an event that is an error, whatever its data.</summary>
    const string ErrorEvent = "error";

    /// <summary>The name of an event that ends the answer, whatever its data, unless that is an error.
    /// </summary>
    const string EndEvent = "end";

    /// <summary>Any other name: its data may be anything.</summary>
    const string OtherEvent = "other";

    /// <summary>The end marker of a whole answer, for the log: "the upstream ended without …".</summary>
    static abstract string ExpectedEnd { get; }

    /// <summary>True once the upstream said that the answer is whole: then its body may end without an end
    /// marker, and in any way.</summary>
    bool IsFinished { get; }

    /// <summary>True if the finish reason may say nothing, because some servers send one with each chunk: it
    /// came before or with the first part of the answer, or more of the answer came after it.</summary>
    bool MayGoOnAfterFinish { get; }

    /// <summary>Why the answer ended, in the upstream's word; null if it did not say. Safe to log.</summary>
    string? FinishReason { get; }

    /// <summary>The upstream's name for the last <see cref="EventKind.Error"/>, or null. Never a message:
    /// messages quote prompts and keys.</summary>
    string? Error { get; }

    /// <summary>True if the last <see cref="EventKind.Error"/> says that the model is unknown.</summary>
    bool LacksModel { get; }

    /// <summary>True once there was anything that the stream can show.</summary>
    bool HasAnswer { get; }

    /// <summary>Number of events with any part of an answer, shown or not. If it stops growing, the upstream
    /// sends without making progress.</summary>
    int Parts { get; }

    /// <summary>What an answer without anything to show did hold, for the log; null if nothing.</summary>
    string? OnlyHeld { get; }

    /// <summary>Reads one event. Never throws, whatever its data.</summary>
    /// <param name="eventType"><see cref="MessageEvent"/>, <see cref="ErrorEvent"/>, <see cref="EndEvent"/>
    /// or <see cref="OtherEvent"/>.</param>
    /// <param name="data">The event's data, several lines joined by LF; valid during the call.</param>
    EventKind Read(string eventType, ReadOnlySpan<byte> data);

    /// <summary>Whether the data is a JSON value that names an error. Changes nothing.</summary>
    bool IsError(ReadOnlySpan<byte> data);

    /// <summary>No event follows. Makes the last deltas.</summary>
    /// <param name="isWhole">The answer is whole: its finish reason and usage may be shown.</param>
    void End(bool isWhole);

    /// <summary>The next delta of the last event or of the end; valid until the next call.</summary>
    /// <returns>False if there is no more.</returns>
    bool TryTake(out StreamDelta delta);
}
