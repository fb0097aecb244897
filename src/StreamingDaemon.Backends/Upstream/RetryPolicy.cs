namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// Decides whether to retry a failed attempt, and after how long: exponential backoff with full jitter. It
/// retries not before the upstream's Retry-After, not after the client's head must leave, and not if the
/// upstream fails every request; only a dead connection's requests are retried in any case. Safe for
/// concurrent use.
/// </summary>
internal sealed class RetryPolicy(int maxRetries, Func<double> random)
{
    /// <summary>Longest wait before the first retry, ms; it doubles with each retry. Two retries fit into a
    /// head wait of a second.</summary>
    private const int BackoffMs = 200;

    private const int MaxBackoffMs = 5_000;

    private readonly RetryBudget _budget = new();

    public RetryPolicy(int maxRetries)
        : this(maxRetries, Random.Shared.NextDouble)
    {
    }

    public int MaxRetries => maxRetries;

    /// <summary>An upstream accepted a request.</summary>
    public void OnAccepted() => _budget.Deposit();

    /// <param name="failed">How the attempt ended.</param>
    /// <param name="retries">How many retries there were before it.</param>
    /// <param name="left">Time left in which another attempt may begin.</param>
    /// <param name="wait">How long to wait before the retry.</param>
    /// <returns>False if there is no retry.</returns>
    public bool TryPlan(BackendResult failed, int retries, TimeSpan left, out TimeSpan wait)
    {
        wait = default;
        if (retries >= maxRetries || !IsPassing(failed))
            return false;
        var backoffMs = Math.Min(BackoffMs << Math.Min(retries, 10), MaxBackoffMs);
        // Jitter on top of Retry-After too: otherwise all requests told the same would come back together.
        wait = (failed.RetryAfter ?? TimeSpan.Zero) + TimeSpan.FromMilliseconds(backoffMs * random());
        // A connection that died says nothing about the upstream, and its death is noticed long after the
        // head has left. The reader would get an error although a new connection has the answer.
        return failed.IsConnectionDead || (wait < left && _budget.TryWithdraw());
    }

    /// <summary>Faults before there is a stream that may be gone in a moment. A certificate, a key or a wrong
    /// request will not have changed.</summary>
    private static bool IsPassing(BackendResult failed) => failed.ShouldRetry ?? failed.Fault switch
    {
        UpstreamFault.Dns or UpstreamFault.Connect or UpstreamFault.ConnectTimeout or UpstreamFault.Reset
            or UpstreamFault.RateLimited => true,
        UpstreamFault.ClientError or UpstreamFault.ServerError => IsPassing(failed.UpstreamStatus),
        _ => false,
    };

    /// <summary>408 and 409 (a lock), and the server errors. The proxies of Cloudflare send 520 to 530;
    /// Anthropic and gateways send 529 for "overloaded". Not those that say what the server cannot
    /// do.</summary>
    private static bool IsPassing(int? status) => status switch
    {
        501 or 505 or 506 or 508 or 510 or 511 => false,
        408 or 409 or 429 or (>= 500 and <= 530) => true,
        _ => false,
    };
}
