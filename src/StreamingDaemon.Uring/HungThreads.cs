namespace StreamingDaemon.Uring;

/// <summary>Threads that hang in one kind of call on what came from outside.</summary>
/// <param name="Now">Those that hang at the moment.</param>
/// <param name="Ever">Those replaced for hanging, since the start.</param>
public readonly record struct HungThreads(int Now, long Ever)
{
    /// <summary>Both sums.</summary>
    public static HungThreads operator +(HungThreads left, HungThreads right) =>
        new(left.Now + right.Now, left.Ever + right.Ever);

    /// <inheritdoc cref="op_Addition"/>
    public static HungThreads Add(HungThreads left, HungThreads right) => left + right;
}

/// <summary>The work of a thread that may hang in a call on what came from outside.</summary>
public enum HungWork
{
    /// <summary>It closes a descriptor.</summary>
    Release,

    /// <summary>It checks what a handoff brought: the client's socket, or data in a descriptor. Or it makes
    /// calls that are known to compute for long.</summary>
    Check,

    /// <summary>It runs a loop.</summary>
    Loop,
}
