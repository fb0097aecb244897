namespace StreamingDaemon.Host.Endpoints;

/// <summary>From a request to its answer.</summary>
internal sealed partial class MetricsAnswers(
    HealthEndpoints health, MetricsEndpoint metrics, ILogger<MetricsAnswers> logger)
{
    private readonly ILogger _logger = logger;
    private HttpAnswer? _metrics;

    /// <summary>Before the answers of one turn of the server: its scrapers share one collection. One for each
    /// of a crowd would let a probe wait.</summary>
    public void BeginTurn() => _metrics = null;

    /// <summary>Answers the connection's request, unless it waits for the loop.</summary>
    public void Answer(MetricsConnection connection, long nowMs)
    {
        var request = connection.Request!;
        if (request.Refusal != 0)
            connection.Send(HttpAnswer.Error(request.Refusal), nowMs);
        else if (!MetricsEndpoint.IsIt(request.Path) && !HealthEndpoints.IsOne(request.Path))
            connection.Send(HttpAnswer.Error(404), nowMs);
        else if (request.Method is not ("GET" or "HEAD"))
            connection.Send(HttpAnswer.Error(405, "Allow: GET, HEAD\r\n"), nowMs);
        else if (MetricsEndpoint.IsIt(request.Path))
            connection.Send(_metrics ??= Collect(), nowMs);
        else if (health.StatusBy(ref connection.Check, nowMs >= connection.DeadlineMs) is { } status)
            connection.Send(health.Answer(request.Path, status), nowMs);
    }

    private HttpAnswer Collect()
    {
        try
        {
            return metrics.Answer();
        }
        catch (Exception e)
        {
            LogFault(_logger, e);
            return HttpAnswer.Error(500);
        }
    }

    [LoggerMessage(EventId = 61, Level = LogLevel.Error, Message = "the metrics cannot be collected")]
    private static partial void LogFault(ILogger logger, Exception exception);
}
