using System.Runtime.CompilerServices;

namespace StreamingDaemon.Testing;

/// <summary>Waits for a condition, with a timeout. Tests use it instead of sleeping.</summary>
public static class Eventually
{
    public static async Task TrueAsync(Func<bool> condition, TimeSpan? patience = null,
        [CallerArgumentExpression(nameof(condition))] string? text = null)
    {
        var deadline = Environment.TickCount64 + (long)(patience ?? TimeSpan.FromSeconds(20)).TotalMilliseconds;
        while (!condition())
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"did not come true: {text}");
            await Task.Delay(5);
        }
    }

    /// <summary>As above, for an asynchronous condition.</summary>
    public static async Task TrueAsync(Func<Task<bool>> condition, TimeSpan? patience = null,
        [CallerArgumentExpression(nameof(condition))] string? text = null)
    {
        var deadline = Environment.TickCount64 + (long)(patience ?? TimeSpan.FromSeconds(20)).TotalMilliseconds;
        while (!await condition())
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"did not come true: {text}");
            await Task.Delay(5);
        }
    }
}
