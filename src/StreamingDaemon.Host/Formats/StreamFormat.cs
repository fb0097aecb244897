using System.Buffers;
using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Formats;

/// <summary>
/// How an answer is written for its client: its deltas, its end, and its errors. One object serves all
/// streams; what it must know of a stream is in <see cref="AnswerFacts"/>. A new format is a class beside
/// this one and a line in <see cref="StreamFormats"/>.
/// </summary>
internal abstract class StreamFormat
{
    /// <summary>The name by which <c>streaming.format</c> and a handoff's <c>format</c> choose it.</summary>
    public abstract string Name { get; }

    /// <summary>True if a whole answer must name a finish reason. If the backend sent none, the stream sends
    /// <c>stop</c>.</summary>
    public virtual bool NeedsFinishReason => false;

    /// <summary>The kinds of delta that a backend is asked for.</summary>
    /// <param name="events">The extra events of the stream (<see cref="StreamEvents"/>).</param>
    public abstract DeltaKinds Wanted(DeltaKinds events);

    /// <summary>Writes one delta as one event.</summary>
    public abstract void Write(IBufferWriter<byte> output, StreamDelta delta, in AnswerFacts facts);

    /// <summary>Writes the end of a whole answer.</summary>
    public virtual void WriteDone(IBufferWriter<byte> output) => output.Write(ServerSentEvents.Done);

    /// <summary>The error that ends an answer if the upstream ended it early without an error. Null: a
    /// comment ends it.</summary>
    public virtual ErrorResponse? TruncationError => null;

    /// <summary>Writes the end of an answer that failed after its head was sent.</summary>
    public abstract void WriteError(
        IBufferWriter<byte> output, ErrorResponse error, in AnswerFacts facts);

    /// <summary>The body of an answer that failed before its head was sent: one line of JSON.</summary>
    public abstract string ErrorBody(ErrorResponse error, in AnswerFacts facts);
}

/// <summary>What a format may say about a stream.</summary>
/// <param name="RequestId">Safe in a JSON string.</param>
/// <param name="Model">The model that was asked, or the backend's name if it has no models.</param>
/// <param name="Created">When the stream began, in Unix seconds.</param>
/// <param name="IsFirst">True if no event of the answer was written yet.</param>
internal readonly record struct AnswerFacts(string RequestId, string Model, long Created, bool IsFirst);
