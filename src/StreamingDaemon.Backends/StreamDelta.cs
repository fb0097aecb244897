namespace StreamingDaemon.Backends;

/// <summary>One piece of an answer.</summary>
/// <param name="Text">UTF-8 text, unescaped, never empty, whole code points.</param>
public readonly record struct StreamDelta(ReadOnlyMemory<byte> Text);
