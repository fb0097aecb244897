namespace StreamingDaemon.Backends.Upstream;

/// <summary>
/// A token bucket: each retry takes a token, and each accepted request puts a tenth back (as gRPC's retry
/// throttling, proposal A6). A rare failure is retried, but an upstream that is down is not asked three times
/// for every request. Safe for concurrent use.
/// </summary>
internal sealed class RetryBudget
{
    /// <summary>Retries in a row, with no success between them.</summary>
    public const int Reserve = 100;

    /// <summary>Accepted requests that pay for one retry.</summary>
    public const int RequestsPerRetry = 10;

    // In parts of a token, each an accepted request.
    private const int Full = Reserve * RequestsPerRetry;

    private int _parts = Full;

    public void Deposit()
    {
        // Usually full: then nothing is written, and the cores do not contend.
        var parts = Volatile.Read(ref _parts);
        while (parts < Full)
        {
            var seen = Interlocked.CompareExchange(ref _parts, parts + 1, parts);
            if (seen == parts)
                return;
            parts = seen;
        }
    }

    public bool TryWithdraw()
    {
        var parts = Volatile.Read(ref _parts);
        while (parts >= RequestsPerRetry)
        {
            var seen = Interlocked.CompareExchange(ref _parts, parts - RequestsPerRetry, parts);
            if (seen == parts)
                return true;
            parts = seen;
        }

        return false;
    }
}
