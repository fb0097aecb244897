using System.Collections.Concurrent;
using System.Diagnostics;
using Prometheus;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Formats;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Telemetry;

/// <summary>
/// The daemon's metrics. The loop's counters are copied at each scrape. A token costs one interlocked
/// increment.
/// </summary>
internal sealed class StreamMetrics
{
    /// <summary>The backend label of handoffs that reached no backend.</summary>
    private const string NoBackend = "none";

    /// <summary>Seconds, to twice the default of first_token_timeout_ms, and with the threshold of
    /// StreamingDaemonSlowFirstToken (10 s): a quantile between two edges is a guess.</summary>
    private static readonly double[] s_firstTokenEdges =
        [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120];

    /// <summary>Seconds, to ten minutes.</summary>
    private static readonly double[] s_durationEdges =
        [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600];

    private readonly Gauge _active, _peak, _max;
    private readonly Gauge _states, _draining, _hung;
    private readonly Counter _replaced, _requests, _bytes, _tls, _streams, _events;
    private readonly Counter _upstreamErrors, _upstreamRetries, _errors;
    private readonly Histogram _handoff, _firstToken, _duration;
    private readonly ConcurrentDictionary<string, BackendSeries> _series = new();
    private long _started, _completed, _failed, _eventCount;

    public StreamMetrics(DaemonOptions options)
    {
        Registry = Metrics.NewCustomRegistry();
        var factory = Metrics.WithCustomRegistry(Registry);
        _active = factory.CreateGauge("streaming_daemon_connections_active", "Client connections in use.");
        _peak = factory.CreateGauge("streaming_daemon_connections_peak",
            "Most client connections in use at once since the start.");
        _max = factory.CreateGauge("streaming_daemon_connections_max",
            "Limit of connections in force: max_connections, or what nofile allows.");
        _draining = factory.CreateGauge("streaming_daemon_draining",
            "1 while the daemon stops and waits for its streams to end, else 0.");
        _hung = factory.CreateGauge("streaming_daemon_hung_threads",
            "Threads that hang in a system call on a handed-over descriptor, by their work: release, check "
            + "(also calls that compute for long), loop.", "work");
        _replaced = factory.CreateCounter("streaming_daemon_replaced_threads_total",
            "Threads that were replaced because they hung in such a call, by their work.", "work");
        _requests = factory.CreateCounter("streaming_daemon_requests_total",
            "Handoffs, by status: started, then completed ([DONE] was sent) or failed.", "status");
        _bytes = factory.CreateCounter("streaming_daemon_bytes_total", "Bytes sent to clients.");
        _tls = factory.CreateCounter("streaming_daemon_tls_clients_total",
            "Handoffs whose client the kernel encrypts for (HTTPS that ends in Apache).");
        factory.CreateGauge("streaming_daemon_info", "Always 1; its labels say what runs.",
                "version", "sqpoll", "thread_pool", "revision")
            .WithLabels(DaemonVersion.Text, OnOff(options.Performance.SqPoll),
                OnOff(options.ThreadPool.Enabled), DaemonVersion.Revision)
            .Set(1);
        _streams = factory.CreateCounter("streaming_daemon_streams_total",
            "Streams that ended, by backend and outcome.", "backend", "outcome");
        _events = factory.CreateCounter("streaming_daemon_events_total",
            "Content events written to clients.");
        _states = factory.CreateGauge("streaming_daemon_streams_state",
            "Streams by state: llm_queued wait for a worker, llm_pending for their first token.", "state");
        _handoff = factory.CreateHistogram("streaming_daemon_handoff_duration_seconds",
            "From accept on the handoff socket until the handoff is received.", Buckets(0.0001, 15));
        _firstToken = factory.CreateHistogram("streaming_daemon_time_to_first_token_seconds",
            "From accept until the first event.", ["backend"], Edges(s_firstTokenEdges));
        _duration = factory.CreateHistogram("streaming_daemon_stream_duration_seconds",
            "From accept until the stream ended.", ["backend"], Edges(s_durationEdges));
        _upstreamErrors = factory.CreateCounter("streaming_daemon_upstream_errors_total",
            "Streams that ended as UpstreamError, UpstreamTimeout or UpstreamTruncated, by reason.",
            "reason");
        _upstreamRetries = factory.CreateCounter("streaming_daemon_upstream_retries_total",
            "Retries before the first token, by the reason that the attempt before failed.", "reason");
        _errors = factory.CreateCounter("streaming_daemon_errors_total",
            "Errors sent to clients, as a status or as an event, by code.", "code");
        foreach (var code in ErrorCodes.Words)
            _errors.WithLabels(code);
        foreach (var fault in Enum.GetNames<UpstreamFault>())
        {
            _upstreamErrors.WithLabels(fault);
            _upstreamRetries.WithLabels(fault);
        }

        foreach (var status in (string[])["started", "completed", "failed"])
            _requests.WithLabels(status).IncTo(0);
        // Every series starts at 0: increase() does not see the first count of a series that starts at 1.
        foreach (var outcome in Enum.GetValues<StreamOutcome>())
        {
            SeriesOf(options.Backend.Name).Ended(outcome);
            SeriesOf(NoBackend).Ended(outcome);
        }
    }

    public CollectorRegistry Registry { get; }

    public long Started => Volatile.Read(ref _started);

    public long Completed => Volatile.Read(ref _completed);

    public long Failed => Volatile.Read(ref _failed);

    /// <summary>Connects the counters that other types own. Call it once, before the first scrape.</summary>
    public void Observe(HandoffServerStatistics loop, MemoryBudget memory, Func<StreamCounts> streams,
        Func<bool> isDraining)
    {
        new MemoryMetrics(Registry).Observe(memory);
        Registry.AddBeforeCollectCallback(() =>
        {
            _active.Set(loop.ActiveConnections);
            _peak.Set(loop.PeakConnections);
            _max.Set(loop.MaxConnections);
            _draining.Set(isDraining() ? 1 : 0);
            SetHung("release", loop.HungReleases);
            SetHung("check", loop.HungChecks);
            SetHung("loop", loop.HungCalls);
            _bytes.IncTo(loop.BytesSent);
            _requests.WithLabels("started").IncTo(Started);
            _requests.WithLabels("completed").IncTo(Completed);
            _requests.WithLabels("failed").IncTo(Failed);
            _events.IncTo(Volatile.Read(ref _eventCount));
            var (queued, pending, streaming) = streams();
            _states.WithLabels("llm_queued").Set(queued);
            _states.WithLabels("llm_pending").Set(pending);
            _states.WithLabels("streaming").Set(streaming);
        });
    }

    private void SetHung(string work, HungThreads threads)
    {
        _hung.WithLabels(work).Set(threads.Now);
        _replaced.WithLabels(work).IncTo(threads.Ever);
    }

    public void OnHandoff(ClientStream client)
    {
        Interlocked.Increment(ref _started);
        _handoff.Observe(Stopwatch.GetElapsedTime(client.AcceptedTimestamp).TotalSeconds);
        if (client.IsTls)
            _tls.Inc();
    }

    public void OnEvents(int count) => Interlocked.Add(ref _eventCount, count);

    public void OnUpstreamRetry(UpstreamFault fault) => _upstreamRetries.WithLabels(fault.ToString()).Inc();

    public void OnStreamEnded(in StreamReport stream)
    {
        var (backend, outcome) = (stream.Backend.Name, stream.Outcome);
        // Not if the stream counts as ended by its client.
        var isUpstreams = outcome is StreamOutcome.UpstreamError or StreamOutcome.UpstreamTimeout
            or StreamOutcome.UpstreamTruncated;
        if (isUpstreams && stream.Result.Fault is { } reason)
            _upstreamErrors.WithLabels(reason.ToString()).Inc();
        if (stream.Error is { } code)
            _errors.WithLabels(code.Word()).Inc();
        CountEnd(backend, outcome);
        var series = SeriesOf(backend);
        series.Duration.Observe(Stopwatch.GetElapsedTime(stream.Client.AcceptedTimestamp).TotalSeconds);
        if (stream.TimeToFirstToken is { } firstToken)
            series.FirstToken.Observe(firstToken.TotalSeconds);
    }

    /// <summary>Counts a handoff that did not become a stream.</summary>
    public void OnRejected(StreamOutcome outcome)
    {
        Interlocked.Increment(ref _started);
        CountEnd(NoBackend, outcome);
    }

    /// <summary>Counts a stream that failed because of a fault in the daemon.</summary>
    public void OnFault() => CountEnd(NoBackend, StreamOutcome.InternalError);

    private void CountEnd(string backend, StreamOutcome outcome)
    {
        if (outcome == StreamOutcome.Completed)
            Interlocked.Increment(ref _completed);
        else
            Interlocked.Increment(ref _failed);
        // Few label values, and none that a user could choose: configured backend names, and enum names.
        SeriesOf(backend).Ended(outcome).Inc();
    }

    private BackendSeries SeriesOf(string backend) =>
        _series.TryGetValue(backend, out var series)
            ? series
            : _series.GetOrAdd(backend, new BackendSeries(this, backend));

    private static string OnOff(bool on) => on ? "enabled" : "disabled";

    /// <summary>Caches one backend's series: each lookup by labels would allocate several objects.</summary>
    private sealed class BackendSeries(StreamMetrics metrics, string backend)
    {
        private readonly Counter.Child?[] _ended = new Counter.Child?[Enum.GetValues<StreamOutcome>().Length];
        private Histogram.Child? _duration, _firstToken;

        public Histogram.Child Duration => _duration ??= metrics._duration.WithLabels(backend);

        public Histogram.Child FirstToken => _firstToken ??= metrics._firstToken.WithLabels(backend);

        public Counter.Child Ended(StreamOutcome outcome) =>
            _ended[(int)outcome] ??= metrics._streams.WithLabels(backend, outcome.ToString());
    }

    private static HistogramConfiguration Edges(double[] seconds) => new() { Buckets = seconds };

    private static HistogramConfiguration Buckets(double start, int count) =>
        new() { Buckets = Histogram.ExponentialBuckets(start, 2, count) };
}
