namespace StreamingDaemon.Backends;

/// <summary>A conversation, oldest message first, in the application's own JSON.</summary>
/// <param name="Json">A JSON array of at least one message of the chat completions API. It begins with its
/// bracket, ends with it, and is sound (<see cref="JsonText.Repair"/>).</param>
/// <param name="HasInstructions">True if a message has the role <c>system</c> or <c>developer</c>.</param>
public sealed record Conversation(ReadOnlyMemory<byte> Json, bool HasInstructions);
