namespace StreamingDaemon.MockLlm;

/// <summary>How all streams are answered.</summary>
/// <param name="Wheel">Times the pieces.</param>
/// <param name="Script">The bytes.</param>
/// <param name="FirstDelayMs">Delay before the first piece.</param>
/// <param name="DelayMs">Delay before each other piece.</param>
/// <param name="OnRequest">Counts requests.</param>
/// <param name="Report">The text of <c>GET /cpu</c>.</param>
internal sealed record Answers(PaceWheel Wheel, ChunkScript Script, int FirstDelayMs, int DelayMs,
    Action OnRequest, Func<string> Report);
