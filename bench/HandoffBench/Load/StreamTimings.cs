using System.Diagnostics;
using HdrHistogram;

namespace StreamingDaemon.Bench.Load;

/// <summary>The times of many streams, in microseconds, to three digits. For one thread.</summary>
internal sealed class StreamTimings(double delayMs)
{
    private const long LongestMicroseconds = 3_600_000_000;
    private readonly double _delayMicroseconds = delayMs * 1_000;

    /// <summary>From a handoff's due time until the kernel had it: the share of the generator and the accept
    /// queue. The thread that hands over writes it; read it after that thread has ended.</summary>
    public LongHistogram Handoff { get; } = New();

    /// <summary>From the stream's due time until its head arrived.</summary>
    public LongHistogram Head { get; } = New();

    /// <summary>From the stream's due time until its first event arrived.</summary>
    public LongHistogram FirstToken { get; } = New();

    /// <summary>Between two events; 0 if they came in one read.</summary>
    public LongHistogram Gap { get; } = New();

    /// <summary>Difference between a gap and the delay at the source, either way.</summary>
    public LongHistogram GapError { get; } = New();

    /// <summary>From a stream's due time until its end; good streams only.</summary>
    public LongHistogram Duration { get; } = New();

    /// <summary>The histograms by the names that reports use.</summary>
    public IEnumerable<(string Name, LongHistogram Values)> All =>
    [
        ("handoff", Handoff), ("head", Head), ("first token", FirstToken), ("gap", Gap),
        ("gap error", GapError), ("duration", Duration),
    ];

    /// <summary>A read has brought a stream from one mark to another
    /// (<see cref="Streams.ExpectedStream"/>).</summary>
    /// <param name="dueAt">When the stream was due.</param>
    /// <param name="lastEventAt">When its last event came; updated.</param>
    /// <param name="before">Marks reached before the read.</param>
    /// <param name="after">Marks reached now.</param>
    /// <param name="events">Content events of a whole stream.</param>
    /// <param name="now">The moment of the read.</param>
    public void OnProgress(long dueAt, ref long lastEventAt, int before, int after, int events, long now)
    {
        for (var mark = before; mark < after; mark++)
        {
            if (mark == 0)
            {
                Head.RecordValue(Microseconds(dueAt, now));
            }
            else if (mark <= events)
            {
                if (mark == 1)
                    FirstToken.RecordValue(Microseconds(dueAt, now));
                else
                    OnGap(Microseconds(lastEventAt, now));
                lastEventAt = now;
            }
        }
    }

    public void OnGood(long dueAt, long now) => Duration.RecordValue(Microseconds(dueAt, now));

    public void OnHandedOver(long dueAt, long now) => Handoff.RecordValue(Microseconds(dueAt, now));

    /// <summary>Adds another run's times, for a summary over rounds.</summary>
    public void Add(StreamTimings other)
    {
        foreach (var (mine, theirs) in All.Zip(other.All))
            mine.Values.Add(theirs.Values);
    }

    private void OnGap(long microseconds)
    {
        Gap.RecordValue(microseconds);
        GapError.RecordValue((long)Math.Abs(microseconds - _delayMicroseconds));
    }

    private static long Microseconds(long from, long to) =>
        Math.Clamp((to - from) / (Stopwatch.Frequency / 1_000_000), 0, LongestMicroseconds);

    private static LongHistogram New() => new(1, LongestMicroseconds, 3);
}
