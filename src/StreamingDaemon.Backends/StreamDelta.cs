namespace StreamingDaemon.Backends;

/// <summary>What a delta holds.</summary>
[Flags]
public enum DeltaKinds : byte
{
    /// <summary>Nothing.</summary>
    None = 0,

    /// <summary>A piece of the answer's text: UTF-8, unescaped, whole code points.</summary>
    Text = 1,

    /// <summary>A piece of the model's reasoning: UTF-8, unescaped, whole code points.</summary>
    Reasoning = 2,

    /// <summary>Why the answer ended, in the upstream's word: UTF-8. Once, after the last text.</summary>
    FinishReason = 4,

    /// <summary>The answer's token counts: a JSON object with those of <c>prompt_tokens</c>,
    /// <c>completion_tokens</c>, <c>reasoning_tokens</c> and <c>cached_tokens</c> that are known.</summary>
    Usage = 8,

    /// <summary>The data of one event of the upstream, byte for byte.</summary>
    Chunk = 16,
}

/// <summary>One piece of an answer.</summary>
/// <param name="Text">What <paramref name="Kind"/> says; never empty.</param>
/// <param name="Kind">One kind.</param>
public readonly record struct StreamDelta(ReadOnlyMemory<byte> Text, DeltaKinds Kind = DeltaKinds.Text);
