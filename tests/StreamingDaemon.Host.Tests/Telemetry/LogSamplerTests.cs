using System.Collections.Concurrent;
using Microsoft.Extensions.Logging;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Telemetry;

public sealed class LogSamplerTests
{
    private static readonly TimeSpan NeverInThisTest = TimeSpan.FromHours(1);
    private readonly Lines _lines = new();

    [Fact]
    public void First_line_of_each_kind_is_written_and_the_rest_is_counted_to_the_last()
    {
        using (var samples = new LogSampler(_lines, NeverInThisTest))
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
    public async Task What_was_held_back_is_told_although_nothing_follows_and_then_the_next_is_a_first_again()
    {
        using var samples = new LogSampler(_lines, TimeSpan.FromMilliseconds(50));
        // The machine may be slow: as often as it takes for one to be held back.
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
