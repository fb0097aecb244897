using Prometheus;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Answers.Shared;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Answers;

/// <summary>What happens to kept answers: the label of <c>streaming_daemon_answers_total</c>, in
/// snake_case.</summary>
internal enum AnswerEvent
{
    /// <summary>A new answer is kept.</summary>
    Kept,

    /// <summary>A handoff asked for an answer that was there already.</summary>
    Joined,

    /// <summary>A reader reads on.</summary>
    Resumed,

    /// <summary>A running answer lost its last reader.</summary>
    Orphaned,

    /// <summary>The application stopped an answer.</summary>
    Stopped,

    /// <summary>A handoff named an answer that is not there for its user.</summary>
    NotFound,

    /// <summary>A new answer could not be kept: max_bytes is reached, or memory is short.</summary>
    Full,

    /// <summary>A running answer passed max_answer_bytes, or max_bytes, and is no longer kept.</summary>
    TooLong,

    /// <summary>A finished answer went before its time, to make room.</summary>
    Evicted,

    /// <summary>An answer is not in Redis: Redis was gone for too long.</summary>
    Unshared,
}

/// <summary>Counts and logs what happens to kept answers.</summary>
internal sealed class AnswerReports
{
    private readonly Counter.Child[] _events;
    private readonly Counter _ended;
    private readonly LogSampler _samples;
    private readonly ILogger _logger;
    private string? _down;
    private string? _refusal;

    public AnswerReports(StreamMetrics metrics, LogSampler samples, ILogger<AnswerReports> logger)
    {
        Metrics = metrics;
        _samples = samples;
        _logger = logger;
        var factory = Prometheus.Metrics.WithCustomRegistry(metrics.Registry);
        var events = factory.CreateCounter(
            "streaming_daemon_answers_total", "What happened to kept answers.", "event");
        _events = [.. Enum.GetNames<AnswerEvent>().Select(name =>
            events.WithLabels(System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(name)))];
        _ended = factory.CreateCounter(
            "streaming_daemon_answers_ended_total", "Calls of kept answers that ended.", "outcome");
    }

    public StreamMetrics Metrics { get; }

    public void Count(AnswerEvent what) => _events[(int)what].Inc();

    /// <summary>Connects the gauges. Call it once.</summary>
    public void Observe(Func<(int Running, int Finished, long Bytes)> store)
    {
        var factory = Prometheus.Metrics.WithCustomRegistry(Metrics.Registry);
        var answers = factory.CreateGauge(
            "streaming_daemon_answers", "Kept answers, by state.", "state");
        var bytes = factory.CreateGauge(
            "streaming_daemon_answers_bytes", "Bytes of memory that kept answers take.");
        Metrics.Registry.AddBeforeCollectCallback(() =>
        {
            var now = store();
            answers.WithLabels("running").Set(now.Running);
            answers.WithLabels("finished").Set(now.Finished);
            bytes.Set(now.Bytes);
        });
    }

    /// <summary>Connects the gauge of the shared store.</summary>
    public void ObserveShared(Func<bool> isUp)
    {
        var up = Prometheus.Metrics.WithCustomRegistry(Metrics.Registry).CreateGauge(
            "streaming_daemon_answers_redis_up",
            "1 while Redis answers and takes answers, else 0. Only with answers.store redis.");
        Metrics.Registry.AddBeforeCollectCallback(() => up.Set(isUp() ? 1 : 0));
    }

    /// <summary>The shared store does not answer. Logged once until it does, or the reason is another one.
    /// </summary>
    public void SharedIsDown(string reason)
    {
        var before = Volatile.Read(ref _down);
        if (reason == before || (before is not null && !_samples.Admits("Redis is unavailable")))
            return;
        Volatile.Write(ref _down, reason);
        _logger.RedisUnavailable(reason);
    }

    /// <summary>The shared store answers, but refuses a command. Logged once until it takes all, or refuses
    /// for another reason.</summary>
    public void SharedRefuses(string error)
    {
        var refusal = RedisRefusal.Of(error);
        if (refusal.Text == Volatile.Read(ref _refusal) || !_samples.Admits(refusal.Kind))
            return;
        Volatile.Write(ref _refusal, refusal.Text);
        _logger.RedisRefuses(refusal.Text);
    }

    /// <summary>What another daemon seems to have written cannot be read.</summary>
    public void SharedIsOdd(string problem)
    {
        if (_samples.Admits("an answer in Redis is odd"))
            _logger.RedisRefuses(problem);
    }

    /// <summary>The shared store answers and takes answers.</summary>
    public void SharedIsUp()
    {
        var wasRefused = Interlocked.Exchange(ref _refusal, null) is not null;
        if (Interlocked.Exchange(ref _down, null) is not null || wasRefused)
            _logger.RedisAvailable();
    }

    /// <summary>An answer is not in the shared store, or no longer.</summary>
    public void Unshared(AnswerKey key)
    {
        Count(AnswerEvent.Unshared);
        if (_samples.Admits("answer not shared"))
            _logger.AnswerUnshared(key.Id);
    }

    /// <summary>A new answer is served without being kept.</summary>
    public void NotKept(AnswerKey key)
    {
        Count(AnswerEvent.Full);
        if (_samples.Admits("answer not kept"))
            _logger.AnswerNotKept(key.Id);
    }

    /// <summary>A running answer is no longer kept.</summary>
    public void NoLongerKept(AnswerKey key, bool isTooLong)
    {
        Count(AnswerEvent.TooLong);
        if (_samples.Admits("answer no longer kept"))
            _logger.AnswerNoLongerKept(key.Id, isTooLong ? "max_answer_bytes" : "max_bytes");
    }

    /// <summary>The call of an answer has ended, with readers or without.</summary>
    public void Ended(AnswerCall call, BackendResult result, TimeSpan duration)
    {
        _ended.WithLabels(result.Outcome.ToString()).Inc();
        _logger.AnswerEnded(result.Outcome, call.Request.RequestId, call.Backend.Name, call.Events,
            Math.Round(duration.TotalMilliseconds), result.FinishReason, result.Reason);
    }
}
