namespace StreamingDaemon.Backends.Tests;

internal static class TestLimits
{
    /// <summary>No test waits longer than this; even on a loaded machine none should need a tenth of
    /// it.</summary>
    public static TimeSpan Wait { get; } = TimeSpan.FromSeconds(20);

    public static async Task<T> WithinLimit<T>(this Task<T> task) => await task.WaitAsync(Wait);

    public static async Task WithinLimit(this Task task) => await task.WaitAsync(Wait);
}
