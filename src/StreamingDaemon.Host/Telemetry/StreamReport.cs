using StreamingDaemon.Backends;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>A stream that has ended, for the access log and the metrics.</summary>
/// <param name="Request">The request.</param>
/// <param name="Client">The client, with the bytes sent and the time of its accept.</param>
/// <param name="Backend">The backend that answered.</param>
/// <param name="Outcome">How the stream ended.</param>
/// <param name="Result">The backend's result.</param>
/// <param name="Events">Number of content events written.</param>
/// <param name="TimeToFirstToken">From the accept of the handoff; null if no token arrived.</param>
/// <param name="Status">The HTTP status sent, or 0 if no head was sent.</param>
/// <param name="Error">The error that the client was sent, or null.</param>
/// <param name="Use">How the client used a kept answer.</param>
internal readonly record struct StreamReport(StreamRequest Request, ClientStream Client,
    IStreamingBackend Backend, StreamOutcome Outcome, BackendResult Result, int Events,
    TimeSpan? TimeToFirstToken, int Status, ErrorCode? Error, AnswerUse Use);

/// <summary>Numbers of streams by phase.</summary>
/// <param name="Queued">Streams that wait for a worker slot.</param>
/// <param name="Pending">Streams that wait for their first token.</param>
/// <param name="Streaming">Streams that have had their first token.</param>
internal readonly record struct StreamCounts(int Queued, int Pending, int Streaming);
