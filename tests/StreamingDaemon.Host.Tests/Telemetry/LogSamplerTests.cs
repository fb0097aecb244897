using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Telemetry;

public sealed class LogSamplerTests
{
    private static readonly TimeSpan s_neverInThisTest = TimeSpan.FromHours(1);
    private readonly Lines _lines = new();

    [Fact]
    public void First_line_of_each_kind_is_written_and_the_rest_is_counted_to_the_last()
    {
        using (var samples = new LogSampler(_lines, s_neverInThisTest))
        {
            var admitted = new ConcurrentBag<string>();
            Parallel.For(0, 3000, i =>
            {
                var kind = i % 3 == 0 ? "a" : "b";
                if (samples.Admits(kind))
                    admitted.Add(kind);
            });
            Assert.Equal(["a", "b"], admitted.Order());
            Assert.Empty(_lines);
        }

        Assert.Equal(["a: 999 more in 3600 s", "b: 1999 more in 3600 s"], _lines.Order());
    }

    [Fact]
    public async Task Lines_held_back_are_counted_at_the_windows_end_and_the_next_line_is_written()
    {
        using var samples = new LogSampler(_lines, TimeSpan.FromMilliseconds(50));
        // On a slow machine, each line may open a new window: repeat until one is held back.
        var written = 0;
        while (samples.Admits("a"))
            written++;
        Assert.InRange(written, 1, int.MaxValue);

        await Eventually.TrueAsync(() => !_lines.IsEmpty);
        Assert.Equal("a: 1 more in 0.05 s", Assert.Single(_lines));
        Assert.True(samples.Admits("a"));
    }

    private sealed class Lines : ConcurrentQueue<string>, ILogger<LogSampler>
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception,
            Func<TState, Exception?, string> formatter) => Enqueue(formatter(state, exception));
    }
}
