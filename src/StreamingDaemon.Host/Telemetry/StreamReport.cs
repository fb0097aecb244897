using StreamingDaemon.Backends;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>What the access log and the metrics are told of a stream that has ended.</summary>
/// <param name="Request">What was asked for.</param>
/// <param name="Client">Its client; bytes sent and the time of acceptance are read from it.</param>
/// <param name="Backend">The backend that answered.</param>
/// <param name="Outcome">How it ended.</param>
/// <param name="Result">What the backend said of its end.</param>
/// <param name="Events">Content events written.</param>
/// <param name="TimeToFirstToken">From the acceptance of the handoff; null if no token came.</param>
/// <param name="Status">The HTTP status sent, or 0 if no head was.</param>
internal readonly record struct StreamReport(StreamRequest Request, ClientStream Client,
    IStreamingBackend Backend, StreamOutcome Outcome, BackendResult Result, int Events,
    TimeSpan? TimeToFirstToken, int Status);

/// <summary>How many streams wait for a worker, for their first token, and for further ones.</summary>
internal readonly record struct StreamCounts(int Queued, int Pending, int Streaming);
