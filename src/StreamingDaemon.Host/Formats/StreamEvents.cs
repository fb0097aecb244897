using StreamingDaemon.Backends;

namespace StreamingDaemon.Host.Formats;

/// <summary>The events that a stream of format <c>text</c> can have beside its text: their names in
/// <c>streaming.events</c> and in the handoff's <c>events</c>.</summary>
internal static class StreamEvents
{
    /// <summary>All of them, in the order in which they come.</summary>
    public static IReadOnlyList<(string Name, DeltaKinds Kind)> All { get; } =
    [
        ("reasoning", DeltaKinds.Reasoning), ("finish", DeltaKinds.FinishReason), ("usage", DeltaKinds.Usage),
    ];

    /// <summary>The kind of this name; <see cref="DeltaKinds.None"/> if no event has it.</summary>
    public static DeltaKinds Find(ReadOnlySpan<char> name)
    {
        foreach (var (known, kind) in All)
        {
            if (name.Equals(known, StringComparison.OrdinalIgnoreCase))
                return kind;
        }

        return DeltaKinds.None;
    }
}
