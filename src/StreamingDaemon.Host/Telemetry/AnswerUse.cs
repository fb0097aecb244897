using System.Text.Json;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>How a client used a kept answer: the vocabulary of the access log's <c>answer</c>, where each is
/// spelled in lower case.</summary>
internal enum AnswerUse : byte
{
    /// <summary>A plain stream.</summary>
    None,

    /// <summary>Its handoff began the answer.</summary>
    Kept,

    /// <summary>Its handoff asked for an answer that was there already.</summary>
    Joined,

    /// <summary>It read on after it, or another reader, had left.</summary>
    Resumed,

    /// <summary>It asked for the answer's end.</summary>
    Stop,
}

/// <summary>The spelling of the uses.</summary>
internal static class AnswerUses
{
    private static readonly string?[] s_words =
        [null, .. Enum.GetNames<AnswerUse>().Skip(1).Select(JsonNamingPolicy.SnakeCaseLower.ConvertName)];

    /// <summary>As the log spells it; null for none.</summary>
    public static string? Word(this AnswerUse use) => s_words[(int)use];
}
