namespace StreamingDaemon.MockLlm;

/// <summary>What all streams are answered with.</summary>
/// <param name="Wheel">Says when.</param>
/// <param name="Script">The bytes.</param>
/// <param name="FirstDelayMs">Before the first piece.</param>
/// <param name="DelayMs">Before each other.</param>
/// <param name="OnRequest">Counts them.</param>
/// <param name="Report">The text of <c>GET /cpu</c>.</param>
internal sealed record Answers(PaceWheel Wheel, ChunkScript Script, int FirstDelayMs, int DelayMs,
    Action OnRequest, Func<string> Report);
